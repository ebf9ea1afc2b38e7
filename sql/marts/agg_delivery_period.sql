-- grain: one row a period and scope in which anything happened
-- key: year, month, dimension, supplying_organisation, pickup_organisation, supplying_branch, pickup_branch, branch
-- materialize: table
-- renew: year
-- What the key figures are made of: counts of legs and quantiles of their durations. A branch's figures are those of
-- the legs to it. month is 0 for the whole year; what is under way counts in the current period (marts.period).
WITH event AS (
    SELECT
        CASE l.state
            WHEN 'delivered' THEN l.received_at::DATE
            WHEN 'unconfirmed' THEN l.unconfirmed_received_at::DATE
            ELSE coalesce((SELECT last_date FROM marts.period WHERE is_current AND month > 0), run.as_of - 1)
        END AS happened_on,
        l.*,
        u.is_overdue,
        p.transit_norm_transport_days
    FROM marts.fct_leg AS l
    LEFT JOIN marts.under_way AS u USING (pickup_organisation, reservation_id, supplying_branch)
    CROSS JOIN reference.run AS run
    CROSS JOIN reference.parameter AS p
    WHERE l.state IN ('delivered', 'unconfirmed', 'in_transit')
),
dated AS (
    SELECT *, year(happened_on)::INTEGER AS year, month(happened_on)::INTEGER AS month
    FROM event
)
SELECT
    year,
    coalesce(month, 0) AS month,
    CASE
        WHEN GROUPING(supplying_branch) = 0 THEN 'lane'
        WHEN GROUPING(supplying_organisation) = 0 THEN 'organisation'
        WHEN GROUPING(pickup_branch) = 0 THEN 'branch'
        ELSE 'total'
    END AS dimension,
    coalesce(supplying_organisation, '') AS supplying_organisation,
    coalesce(pickup_organisation, '') AS pickup_organisation,
    coalesce(supplying_branch, '') AS supplying_branch,
    CASE WHEN GROUPING(supplying_branch) = 0 THEN pickup_branch ELSE '' END AS pickup_branch,
    CASE WHEN GROUPING(pickup_branch) = 0 AND GROUPING(supplying_branch) = 1 THEN pickup_branch ELSE '' END AS branch,
    count(*) FILTER (state = 'delivered') AS delivered,
    count(*) FILTER (state = 'delivered' AND supplying_organisation <> pickup_organisation)
        AS delivered_between_organisations,
    count(*) FILTER (state = 'delivered' AND is_not_collected) AS not_collected,
    count(*) FILTER (state = 'delivered' AND is_unannounced) AS unannounced,
    count(*) FILTER (state = 'unconfirmed') AS unconfirmed,
    count(*) FILTER (state = 'in_transit') AS in_transit,
    count(*) FILTER (is_overdue) AS overdue,
    count(transit_transport_days) AS with_transit_time,
    count(*) FILTER (transit_transport_days <= transit_norm_transport_days) AS within_transit_norm,
    quantile_cont(transit_transport_days, 0.5) AS transit_transport_days_median,
    quantile_cont(transit_transport_days, 0.9) AS transit_transport_days_p90,
    quantile_cont(transit_calendar_days, 0.5) AS transit_calendar_days_median,
    quantile_cont(transit_calendar_days, 0.9) AS transit_calendar_days_p90,
    quantile_cont(fill_days, 0.5) AS fill_days_median
FROM dated
GROUP BY GROUPING SETS (
    (year), (year, month),
    (year, supplying_organisation, pickup_organisation), (year, month, supplying_organisation, pickup_organisation),
    (year, pickup_branch), (year, month, pickup_branch),
    (year, supplying_organisation, pickup_organisation, supplying_branch, pickup_branch),
    (year, month, supplying_organisation, pickup_organisation, supplying_branch, pickup_branch)
)
