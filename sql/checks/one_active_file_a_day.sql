-- on: quality.file
-- severity: critical
-- nl: Twee bestanden van een vestiging en dag tellen allebei mee.
-- en: Two files of one branch and day both count.
-- Of the files of one branch, format and export date one counts.
SELECT branch, format, export_date
FROM {batch}
WHERE state IN ('accepted', 'partly_accepted')
GROUP BY branch, format, export_date
HAVING count(*) > 1
