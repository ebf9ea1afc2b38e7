-- grain: one row a file that was delivered, the last first
-- key: file_id
-- state: as in quality.file; unpublished for a file that was stored and is in no published warehouse yet.
-- replaced_by: the file that superseded this one, or that had the same bytes before.
SELECT
    b.file_id,
    b.path_key,
    b.path AS file,
    b.branch,
    b.format,
    b.export_date,
    b.arrived_at,
    coalesce(f.state, 'unpublished') AS state,
    f.reason,
    coalesce(f.is_settled, false) AS settled,
    b.detail,
    b.rows_read,
    coalesce(f.rows_accepted, b.rows_accepted) AS rows_accepted,
    coalesce(f.rows_quarantined, b.rows_quarantined) AS rows_quarantined,
    b.rows_duplicate,
    b.rows_other,
    CASE f.state
        WHEN 'superseded' THEN (
            SELECT any_value(a.file)
            FROM quality.file AS a
            WHERE a.branch = b.branch AND a.format = b.format AND a.export_date = b.export_date
                AND a.state IN ('accepted', 'partly_accepted')
        )
        WHEN 'skipped' THEN (
            SELECT arg_min(a.path, a.file_id)
            FROM bronze.file AS a
            WHERE a.branch = b.branch AND a.sha256 = b.sha256 AND a.file_id <> b.file_id
        )
    END AS replaced_by
FROM bronze.file AS b
LEFT JOIN quality.file AS f ON b.file_id = f.file_id AND b.run_id = f.run_id
ORDER BY b.file_id DESC
