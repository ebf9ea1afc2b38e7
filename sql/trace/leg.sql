-- grain: one row a leg that a key figure rests on
-- key: pickup_organisation, reservation_id, supplying_branch
-- What `pendel trace` lists of the published warehouse. value: what the leg brings to the figure. A count is the sum of
-- the ones, a share the mean of ones and zeros, a median or percentile that of the durations, and the lending balance
-- the sum of what was supplied (1) and received (-1); part: which of the two sides of a share or balance the leg is on.
-- Parameters: $kpi, $year, $month (0: the whole year), and the scope, '' where it does not bind.
WITH event AS (
    SELECT
        l.*,
        CASE l.state
            WHEN 'delivered' THEN l.received_at
            WHEN 'unconfirmed' THEN l.unconfirmed_received_at
            ELSE (SELECT last_date FROM marts.period WHERE is_current AND month > 0)
        END AS happened_at,
        CASE
            WHEN l.supplying_organisation = l.pickup_organisation
                THEN 'deliveries_within_' || lower(l.supplying_organisation)
            ELSE 'deliveries_' || lower(l.supplying_organisation) || '_to_' || lower(l.pickup_organisation)
        END AS kpi_of_pair,
        coalesce(u.is_overdue, false) AS is_overdue,
        l.transit_transport_days <= p.transit_norm_transport_days AS is_within_norm
    FROM marts.fct_leg AS l
    LEFT JOIN marts.under_way AS u USING (pickup_organisation, reservation_id, supplying_branch)
    CROSS JOIN marts.parameter AS p
    WHERE l.state IN ('delivered', 'unconfirmed', 'in_transit')
),
scoped AS (
    SELECT *
    FROM event
    WHERE year(happened_at) = $year AND ($month = 0 OR month(happened_at) = $month)
        AND ($supplying_organisation = '' OR supplying_organisation = $supplying_organisation)
        AND ($pickup_organisation = '' OR pickup_organisation = $pickup_organisation)
        AND ($supplying_branch = '' OR supplying_branch = $supplying_branch)
        AND ($pickup_branch = '' OR pickup_branch = $pickup_branch)
        -- a branch's figures are those of the legs to it, but for what it supplied
        AND CASE
            WHEN $branch = '' THEN true
            WHEN $kpi = 'deliveries_supplied' THEN supplying_branch = $branch
            WHEN $kpi = 'lender_balance' THEN $branch IN (supplying_branch, pickup_branch)
            ELSE pickup_branch = $branch
        END
),
valued AS (
    SELECT
        *,
        CASE
            WHEN $kpi = 'in_transit' THEN CASE WHEN state = 'in_transit' THEN 1 END
            WHEN $kpi = 'overdue' THEN CASE WHEN is_overdue THEN 1 END
            WHEN $kpi = 'unconfirmed' THEN CASE WHEN state = 'unconfirmed' THEN 1 END
            WHEN state <> 'delivered' THEN NULL
            WHEN $kpi IN ('deliveries_total', 'deliveries_supplied') OR $kpi = kpi_of_pair THEN 1
            WHEN $kpi = 'deliveries_between_organisations'
                THEN CASE WHEN supplying_organisation <> pickup_organisation THEN 1 END
            WHEN $kpi = 'unannounced' THEN CASE WHEN is_unannounced THEN 1 END
            WHEN $kpi = 'lender_balance' THEN CASE WHEN supplying_branch = $branch THEN 1 ELSE -1 END
            WHEN $kpi = 'within_transit_norm_pct' THEN is_within_norm::INTEGER
            WHEN $kpi = 'not_collected_pct' THEN is_not_collected::INTEGER
            WHEN $kpi IN ('transit_transport_days_median', 'transit_transport_days_p90') THEN transit_transport_days
            WHEN $kpi IN ('transit_calendar_days_median', 'transit_calendar_days_p90') THEN transit_calendar_days
            WHEN $kpi = 'fill_days_median' THEN fill_days
        END AS value
    FROM scoped
)
SELECT
    CASE
        WHEN $kpi = 'lender_balance' THEN CASE WHEN v.value = 1 THEN 'supplied' ELSE 'received' END
        WHEN $kpi = 'within_transit_norm_pct' THEN CASE WHEN v.value = 1 THEN 'within_norm' ELSE 'later' END
        WHEN $kpi = 'not_collected_pct' THEN CASE WHEN v.value = 1 THEN 'not_collected' ELSE 'other' END
        ELSE ''
    END AS part,
    v.value,
    v.state,
    v.reservation_id,
    v.item_barcode,
    v.pickup_organisation,
    v.supplying_branch,
    v.pickup_branch,
    v.shipped_at,
    s.branch AS supplier_exported_by,
    s.file AS supplier_file,
    v.supplier_row,
    v.received_at,
    v.unconfirmed_received_at,
    p.branch AS pickup_exported_by,
    p.file AS pickup_file,
    v.pickup_row
FROM valued AS v
LEFT JOIN quality.file AS s ON v.supplier_file_id = s.file_id
LEFT JOIN quality.file AS p ON v.pickup_file_id = p.file_id
WHERE v.value IS NOT NULL
-- what a share counts comes first, and what took longest; then by day
ORDER BY
    part = 'other', part DESC, CASE WHEN $kpi LIKE '%\_days\_%' ESCAPE '\' THEN -v.value END,
    v.happened_at, v.shipped_at NULLS FIRST, v.pickup_organisation, v.reservation_id, v.supplying_branch
