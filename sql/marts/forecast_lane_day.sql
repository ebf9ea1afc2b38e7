-- grain: one row a lane and transport day to come: the ten from the day of the run
-- key: supplying_branch, pickup_branch, date
-- materialize: table
-- What has to be carried: items that the supplying branch sends that day. Empty where a lane has no history.
SELECT
    t.date,
    t.horizon,
    t.supplying_branch,
    t.pickup_branch,
    t.method,
    t.expected_items,
    t.forecast_items,
    t.low_items,
    t.high_items,
    ceil(t.forecast_items / p.items_per_crate)::INTEGER AS crates,
    ceil(t.high_items / p.items_per_crate)::INTEGER AS high_crates
FROM marts.forecast_trial AS t
CROSS JOIN reference.parameter AS p
WHERE t.weeks_back = 0 AND t.supplying_branch <> '' AND t.pickup_branch <> ''
