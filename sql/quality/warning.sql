-- grain: one row a row of an export that counts, and a rule that warns of it
-- key: file_id, row, rule
-- materialize: table
SELECT w.file_id, f.branch, f.path AS file, w.row, w.rule
FROM bronze.warning AS w
JOIN staging.file AS f ON w.file_id = f.file_id
WHERE f.is_active
