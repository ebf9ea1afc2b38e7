-- grain: one row a branch, direction and transport day to come: the ten from the day of the run
-- key: branch, direction, date
-- materialize: table
-- out: items that the branch sends that day; in: items that the others send to it that day, most of which arrive on the
-- next transport day. The crates hold the items of all its lanes together.
SELECT
    t.date,
    t.horizon,
    t.supplying_branch || t.pickup_branch AS branch,
    CASE WHEN t.pickup_branch = '' THEN 'out' ELSE 'in' END AS direction,
    t.forecast_items,
    t.low_items,
    t.high_items,
    ceil(t.forecast_items / p.items_per_crate)::INTEGER AS crates,
    ceil(t.low_items / p.items_per_crate)::INTEGER AS low_crates,
    ceil(t.high_items / p.items_per_crate)::INTEGER AS high_crates
FROM marts.forecast_trial AS t
CROSS JOIN reference.parameter AS p
WHERE t.weeks_back = 0 AND (t.supplying_branch = '') <> (t.pickup_branch = '')
