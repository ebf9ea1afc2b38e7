-- grain: one row a group of forecasts that have an outcome: all lanes, the sparse ones, each lane, the branches' sums
-- key: scope, supplying_branch, pickup_branch
-- materialize: table
-- The forecasts as they would have been made on the eight weekly origins before the run, against seasonal naive. The
-- error is WAPE: the absolute differences added up, as a share of the items. band_held: how often the outcome lay in
-- the band. sparse_lanes: less than one item a day expected.
WITH trial AS (
    SELECT
        *,
        abs(forecast_items - sent) AS missed,
        abs(naive_items - sent) AS naive_missed,
        CASE
            WHEN supplying_branch <> '' AND pickup_branch <> '' THEN 'lane'
            WHEN supplying_branch <> '' THEN 'branch_out'
            WHEN pickup_branch <> '' THEN 'branch_in'
            ELSE 'network'
        END AS kind
    FROM marts.forecast_trial
    WHERE sent IS NOT NULL AND forecast_items IS NOT NULL AND naive_items IS NOT NULL
),
grouped AS (
    SELECT *, kind AS scope FROM trial WHERE kind = 'lane'
    UNION ALL BY NAME
    SELECT * REPLACE ('' AS supplying_branch, '' AS pickup_branch), kind AS scope FROM trial WHERE kind <> 'lane'
    UNION ALL BY NAME
    SELECT * REPLACE ('' AS supplying_branch, '' AS pickup_branch), 'all_lanes' AS scope FROM trial WHERE kind = 'lane'
    UNION ALL BY NAME
    SELECT * REPLACE ('' AS supplying_branch, '' AS pickup_branch), 'sparse_lanes' AS scope
    FROM trial
    WHERE kind = 'lane' AND expected_items < 1
)
SELECT
    scope,
    supplying_branch,
    pickup_branch,
    count(*) AS forecasts,
    sum(sent)::BIGINT AS items,
    sum(missed) / nullif(sum(sent), 0) AS wape,
    sum(naive_missed) / nullif(sum(sent), 0) AS naive_wape,
    1 - sum(missed) / nullif(sum(naive_missed), 0) AS improvement,
    avg((sent BETWEEN low_items AND high_items)::INTEGER) AS band_held
FROM grouped
GROUP BY scope, supplying_branch, pickup_branch
