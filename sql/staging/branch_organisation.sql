-- grain: one row a branch
-- key: branch
-- materialize: table
SELECT branch, any_value(organisation) AS organisation
FROM reference.branch
GROUP BY branch
