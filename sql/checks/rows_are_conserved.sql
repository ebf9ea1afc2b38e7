-- on: quality.file
-- severity: critical
-- Every row read is accepted, quarantined or a duplicate.
SELECT file_id
FROM {batch}
WHERE rows_read <> rows_accepted + rows_quarantined + rows_duplicate
