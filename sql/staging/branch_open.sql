-- grain: one row a branch
-- key: branch
-- materialize: table
-- When a branch was open, by the register: both ends of a period inclusive, an unknown end is no end.
SELECT
    branch,
    bool_or(opened_on IS NULL AND closed_on IS NULL) AS is_always_open,
    list({
        'opened_on': coalesce(opened_on, DATE '0001-01-01'),
        'closed_on': coalesce(closed_on, DATE '9999-12-31')
    }) AS open_periods
FROM reference.branch
GROUP BY branch
