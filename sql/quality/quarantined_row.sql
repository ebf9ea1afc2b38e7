-- grain: one row a row of an export that is held; those of superseded files are of the past
-- key: file_id, row
-- materialize: table
-- renew: file_id
SELECT
    q.file_id, f.branch, f.path AS file, q.row, q.rule, 'arrival' AS stage, NOT f.is_active AS is_superseded,
    q.reservation_id, q.item_barcode, q.supplying_branch AS supplying_code, q.pickup_branch AS pickup_code, q.status,
    q.requested_at, q.shipped_at, q.received_at, q.changed_at
FROM bronze.quarantine AS q
JOIN staging.file AS f ON q.file_id = f.file_id
UNION ALL
SELECT
    j.file_id, f.branch, f.path AS file, j.row, j.held_by AS rule, 'reference' AS stage, NOT f.is_active,
    j.reservation_id, j.item_barcode, j.supplying_code, j.pickup_code, j.status,
    strftime(j.requested_at, '%Y-%m-%d %H:%M:%S'), strftime(j.shipped_at, '%Y-%m-%d %H:%M:%S'),
    strftime(j.received_at, '%Y-%m-%d %H:%M:%S'), strftime(j.changed_at, '%Y-%m-%d %H:%M:%S')
FROM staging.judged_row AS j
JOIN staging.file AS f ON j.file_id = f.file_id
WHERE j.held_by IS NOT NULL
