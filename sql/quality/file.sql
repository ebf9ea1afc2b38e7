-- grain: one row a file that was delivered
-- key: file_id
-- materialize: table
-- state: accepted, partly_accepted (some rows are held), rejected, superseded, skipped (the same bytes again).
-- is_settled: it was rejected and needs nobody any more: an export of its day arrived that can be used, or the file was
-- taken away, or other bytes took its place.
WITH held AS (
    SELECT file_id, count(*) AS rows_held
    FROM quality.quarantined_row
    WHERE stage = 'reference'
    GROUP BY file_id
)
SELECT
    f.file_id,
    f.run_id,
    f.branch,
    f.path AS file,
    f.format,
    f.export_date,
    f.arrived_at,
    CASE
        WHEN f.verdict = 'withdrawn' THEN 'rejected'
        WHEN f.verdict <> 'read' THEN f.verdict
        WHEN NOT f.is_active THEN 'superseded'
        WHEN f.rows_quarantined + coalesce(h.rows_held, 0) > 0 THEN 'partly_accepted'
        ELSE 'accepted'
    END AS state,
    CASE WHEN state = 'rejected' THEN f.reason END AS reason,
    f.detail,
    f.rows_read,
    (f.rows_accepted - coalesce(h.rows_held, 0))::INTEGER AS rows_accepted,
    (f.rows_quarantined + coalesce(h.rows_held, 0))::INTEGER AS rows_quarantined,
    f.rows_duplicate,
    f.rows_other,
    f.dropped_columns,
    state = 'rejected'
    AND (f.verdict = 'withdrawn' OR bool_or(f.is_active) OVER (PARTITION BY f.branch, f.export_date)) AS is_settled
FROM staging.file AS f
LEFT JOIN held AS h ON f.file_id = h.file_id
