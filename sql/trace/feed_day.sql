-- grain: one row a branch and day on which it was expected to deliver an export
-- key: branch, export_date
-- What the completeness of the exports rests on. value: 1 where an export arrived, in time or late; the figure is their
-- mean. Parameters: $year, $month (0: the whole year), $branch ('': all).
SELECT
    d.state AS part,
    (d.state IN ('received', 'late'))::INTEGER AS value,
    d.branch,
    d.export_date,
    f.file,
    d.arrived_at
FROM marts.feed_day AS d
LEFT JOIN quality.file AS f ON d.file_id = f.file_id
WHERE year(d.export_date) = $year AND ($month = 0 OR month(d.export_date) = $month)
    AND ($branch = '' OR d.branch = $branch)
ORDER BY value, d.export_date, d.branch
