-- grain: one row a file that was delivered
-- key: file_id
-- materialize: table
-- Of the files of one branch, format and export date the one that arrived last is active: the others are superseded.
-- A file that was rejected or skipped supersedes nothing.
WITH newest AS (
    SELECT branch, format, export_date, max(file_id) AS file_id
    FROM bronze.file
    WHERE verdict = 'read'
    GROUP BY ALL
)
SELECT
    f.file_id,
    f.run_id,
    f.branch,
    f.path,
    f.format,
    f.export_date,
    f.arrived_at,
    f.verdict,
    f.reason,
    f.detail,
    f.rows_read,
    f.rows_accepted,
    f.rows_quarantined,
    f.rows_duplicate,
    f.rows_other,
    f.dropped_columns,
    n.file_id IS NOT NULL AS is_active,
    coalesce(e.perspective = 'network', false) AS is_network,
    -- the order in which rows that were changed at the same moment count: export date, then arrival
    row_number() OVER (ORDER BY f.export_date, f.file_id) AS file_rank
FROM bronze.file AS f
LEFT JOIN newest AS n ON f.file_id = n.file_id
LEFT JOIN reference.export_format AS e ON f.format = e.format
