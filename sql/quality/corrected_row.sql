-- grain: one row a row of an active export to which a declared correction applies
-- key: file_id, row
-- materialize: table
-- renew: file_id
SELECT r.file_id, f.branch, f.path AS file, r.row, r.correction
FROM staging.row AS r
JOIN staging.file AS f ON r.file_id = f.file_id
WHERE r.correction IS NOT NULL AND r.is_active
