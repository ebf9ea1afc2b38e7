-- on: quality.file
-- severity: critical
-- Of the files of one branch, format and export date one counts.
SELECT branch, format, export_date
FROM {batch}
WHERE state IN ('accepted', 'partly_accepted')
GROUP BY branch, format, export_date
HAVING count(*) > 1
