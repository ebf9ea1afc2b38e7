-- grain: one row a key figure, period (a year, or a month of it) and value of its dimension
-- key: kpi, year, month, dimension, supplying_organisation, pickup_organisation, supplying_branch, pickup_branch, branch
-- materialize: table
-- renew: year
-- month is 0 for the whole year; parts of the key that do not apply are ''. value is empty where nothing can be said
-- (the median of no deliveries); a count of nothing is 0. completeness: share of the expected exports that arrived.
WITH figure AS (
    SELECT
        p.year,
        p.month,
        p.is_current,
        s.dimension,
        s.supplying_organisation,
        s.pickup_organisation,
        s.supplying_branch,
        s.pickup_branch,
        s.branch,
        a.* EXCLUDE (
            year, month, dimension, supplying_organisation, pickup_organisation, supplying_branch, pickup_branch, branch
        )
    FROM marts.period AS p
    CROSS JOIN marts.scope AS s
    LEFT JOIN marts.agg_delivery_period AS a
        ON p.year = a.year AND p.month = a.month AND s.dimension = a.dimension
        AND s.supplying_organisation = a.supplying_organisation AND s.pickup_organisation = a.pickup_organisation
        AND s.supplying_branch = a.supplying_branch AND s.pickup_branch = a.pickup_branch AND s.branch = a.branch
),
supplied AS (
    SELECT year, month, supplying_branch AS branch, sum(delivered) AS delivered
    FROM marts.agg_delivery_period
    WHERE dimension = 'lane'
    GROUP BY year, month, supplying_branch
),
-- what share of the exports that a scope depends on arrived: of its branches, or of all
completeness AS (
    SELECT
        p.year, p.month, s.dimension, s.supplying_branch, s.pickup_branch, s.branch,
        sum(f.arrived) / nullif(sum(f.expected), 0) AS completeness
    FROM marts.period AS p
    CROSS JOIN (SELECT DISTINCT dimension, supplying_branch, pickup_branch, branch FROM marts.scope) AS s
    JOIN marts.agg_feed_period AS f
        ON p.year = f.year AND p.month = f.month
        AND CASE s.dimension
            WHEN 'branch' THEN f.branch = s.branch
            WHEN 'lane' THEN f.branch IN (s.supplying_branch, s.pickup_branch)
            ELSE f.branch = ''
        END
    GROUP BY ALL
),
listed AS (
    SELECT
        f.* EXCLUDE (is_current),
        unnest([
            {'kpi': 'deliveries_total', 'value': coalesce(f.delivered, 0)::DOUBLE, 'shown': true},
            {
                'kpi': 'deliveries_between_organisations',
                'value': coalesce(f.delivered_between_organisations, 0)::DOUBLE,
                'shown': f.dimension IN ('total', 'branch')
            },
            {'kpi': 'deliveries_supplied', 'value': coalesce(s.delivered, 0)::DOUBLE, 'shown': f.dimension = 'branch'},
            {
                'kpi': 'lender_balance',
                'value': (coalesce(s.delivered, 0) - coalesce(f.delivered, 0))::DOUBLE,
                'shown': f.dimension = 'branch'
            },
            {'kpi': 'transit_transport_days_median', 'value': f.transit_transport_days_median, 'shown': true},
            {'kpi': 'transit_transport_days_p90', 'value': f.transit_transport_days_p90, 'shown': true},
            {'kpi': 'transit_calendar_days_median', 'value': f.transit_calendar_days_median, 'shown': true},
            {'kpi': 'transit_calendar_days_p90', 'value': f.transit_calendar_days_p90, 'shown': true},
            {
                'kpi': 'within_transit_norm_pct',
                'value': 100.0 * f.within_transit_norm / nullif(f.with_transit_time, 0),
                'shown': true
            },
            {'kpi': 'fill_days_median', 'value': f.fill_days_median, 'shown': true},
            {'kpi': 'not_collected_pct', 'value': 100.0 * f.not_collected / nullif(f.delivered, 0), 'shown': true},
            {'kpi': 'in_transit', 'value': coalesce(f.in_transit, 0)::DOUBLE, 'shown': f.is_current},
            {'kpi': 'overdue', 'value': coalesce(f.overdue, 0)::DOUBLE, 'shown': f.is_current},
            {'kpi': 'unconfirmed', 'value': coalesce(f.unconfirmed, 0)::DOUBLE, 'shown': true},
            {'kpi': 'unannounced', 'value': coalesce(f.unannounced, 0)::DOUBLE, 'shown': true},
            {
                'kpi': 'feed_completeness_pct',
                'value': 100.0 * c.completeness,
                'shown': f.dimension IN ('total', 'branch')
            }
        ], recursive := true),
        c.completeness
    FROM figure AS f
    LEFT JOIN supplied AS s
        ON f.dimension = 'branch' AND f.year = s.year AND f.month = s.month AND f.branch = s.branch
    LEFT JOIN completeness AS c
        ON f.year = c.year AND f.month = c.month AND f.dimension = c.dimension
        AND f.supplying_branch = c.supplying_branch AND f.pickup_branch = c.pickup_branch AND f.branch = c.branch
),
-- each ordered pair of organisations is a key figure of its own too
pair AS (
    SELECT
        year, month,
        CASE
            WHEN supplying_organisation = pickup_organisation THEN 'deliveries_within_' || lower(supplying_organisation)
            ELSE 'deliveries_' || lower(supplying_organisation) || '_to_' || lower(pickup_organisation)
        END AS kpi,
        value,
        completeness
    FROM listed
    WHERE kpi = 'deliveries_total' AND dimension = 'organisation'
)
SELECT
    v.kpi,
    v.year::INTEGER AS year,
    v.month::INTEGER AS month,
    v.dimension,
    v.supplying_organisation,
    v.pickup_organisation,
    v.supplying_branch,
    v.pickup_branch,
    v.branch,
    v.value,
    d.unit,
    v.completeness
FROM (
    SELECT
        kpi, year, month, dimension, supplying_organisation, pickup_organisation, supplying_branch, pickup_branch,
        branch, value, completeness
    FROM listed
    WHERE shown
    UNION ALL
    SELECT kpi, year, month, 'total', '', '', '', '', '', value, completeness
    FROM pair
) AS v
JOIN kpi.definition AS d ON v.kpi = d.kpi
