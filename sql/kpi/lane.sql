-- grain: one row a period and lane (ordered pair of branches)
-- key: year, month, supplying_branch, pickup_branch
-- materialize: table
-- The lanes' key figures of kpi.value side by side, and their trend. month is 0 for the whole year. A period is
-- compared with the same one a year before or, where there are no figures of that, with the month before. What has not
-- been received is in no transit time: still_in_transit counts, of what was sent in the period, what is under way now.
WITH figure AS (
    SELECT
        year,
        month,
        supplying_branch,
        pickup_branch,
        any_value(supplying_organisation) AS supplying_organisation,
        any_value(pickup_organisation) AS pickup_organisation,
        max(value) FILTER (kpi = 'deliveries_total') AS deliveries_total,
        max(value) FILTER (kpi = 'transit_transport_days_median') AS transit_transport_days_median,
        max(value) FILTER (kpi = 'transit_transport_days_p90') AS transit_transport_days_p90,
        max(value) FILTER (kpi = 'transit_calendar_days_median') AS transit_calendar_days_median,
        max(value) FILTER (kpi = 'transit_calendar_days_p90') AS transit_calendar_days_p90,
        max(value) FILTER (kpi = 'within_transit_norm_pct') AS within_transit_norm_pct,
        any_value(completeness) AS completeness
    FROM kpi.value
    WHERE dimension = 'lane' AND kpi IN (
        'deliveries_total', 'transit_transport_days_median', 'transit_transport_days_p90',
        'transit_calendar_days_median', 'transit_calendar_days_p90', 'within_transit_norm_pct'
    )
    GROUP BY year, month, supplying_branch, pickup_branch
),
-- how many transport days of a period have passed: what is delivered on one of them can be compared
period AS (
    SELECT p.year, p.month, count(*) AS transport_days
    FROM marts.period AS p
    CROSS JOIN reference.run AS run
    JOIN marts.dim_date AS d
        ON d.date BETWEEN p.first_date AND p.last_date AND d.date < run.as_of AND d.is_transport_day
    GROUP BY p.year, p.month
),
compared AS (
    SELECT
        p.year,
        p.month,
        p.transport_days,
        coalesce(y.year, m.year) AS compared_year,
        coalesce(y.month, m.month) AS compared_month,
        coalesce(y.transport_days, m.transport_days) AS compared_transport_days
    FROM period AS p
    LEFT JOIN period AS y ON y.year = p.year - 1 AND y.month = p.month
    LEFT JOIN period AS m
        ON p.month > 0 AND m.month > 0 AND m.year * 12 + m.month = p.year * 12 + p.month - 1
),
sent AS (
    SELECT
        year(shipped_at) AS year,
        coalesce(month(shipped_at), 0) AS month,
        supplying_branch,
        pickup_branch,
        count(*) AS still_in_transit,
        count(*) FILTER (is_overdue) AS still_overdue
    FROM marts.under_way
    WHERE shipped_at IS NOT NULL
    GROUP BY GROUPING SETS (
        (year(shipped_at), supplying_branch, pickup_branch),
        (year(shipped_at), month(shipped_at), supplying_branch, pickup_branch)
    )
)
SELECT
    f.year,
    f.month,
    f.supplying_branch,
    f.pickup_branch,
    f.supplying_organisation,
    f.pickup_organisation,
    f.deliveries_total::INTEGER AS delivered,
    f.transit_transport_days_median,
    f.transit_transport_days_p90,
    f.transit_calendar_days_median,
    f.transit_calendar_days_p90,
    f.within_transit_norm_pct,
    coalesce(s.still_in_transit, 0)::INTEGER AS still_in_transit,
    coalesce(s.still_overdue, 0)::INTEGER AS still_overdue,
    f.completeness,
    c.compared_year,
    c.compared_month,
    b.deliveries_total::INTEGER AS delivered_before,
    b.transit_transport_days_median AS transit_transport_days_median_before,
    b.within_transit_norm_pct AS within_transit_norm_pct_before,
    100.0 * (f.deliveries_total * c.compared_transport_days) / nullif(b.deliveries_total * c.transport_days, 0) - 100.0
        AS delivered_change_pct
FROM figure AS f
LEFT JOIN compared AS c ON f.year = c.year AND f.month = c.month
LEFT JOIN figure AS b
    ON c.compared_year = b.year AND c.compared_month = b.month
    AND f.supplying_branch = b.supplying_branch AND f.pickup_branch = b.pickup_branch
LEFT JOIN sent AS s
    ON f.year = s.year AND f.month = s.month
    AND f.supplying_branch = s.supplying_branch AND f.pickup_branch = s.pickup_branch
