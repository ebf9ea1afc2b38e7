-- on: quality.file
-- severity: critical
-- nl: Gelezen rijen zijn niet gelijk aan geaccepteerd, quarantaine en dubbel samen.
-- en: Rows read are not accepted, quarantined and duplicate together.
-- Every row read is accepted, quarantined or a duplicate.
SELECT file_id
FROM {batch}
WHERE rows_read <> rows_accepted + rows_quarantined + rows_duplicate
