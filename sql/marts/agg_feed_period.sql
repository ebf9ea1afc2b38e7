-- grain: one row a period and a branch, or '' for all branches together
-- key: year, month, branch
-- materialize: table
-- How complete the exports are: expected and arrived branch × export days.
SELECT
    year(export_date)::INTEGER AS year,
    coalesce(month(export_date), 0)::INTEGER AS month,
    coalesce(branch, '') AS branch,
    count(*)::INTEGER AS expected,
    count(*) FILTER (state IN ('received', 'late'))::INTEGER AS arrived
FROM marts.feed_day
GROUP BY GROUPING SETS (
    (year(export_date)), (year(export_date), month(export_date)),
    (year(export_date), branch), (year(export_date), month(export_date), branch)
)
