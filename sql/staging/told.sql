-- grain: one row a row of an export that counts
-- key: told_rank
-- materialize: table
-- told_rank is the order in which rows count: newest changed_at, then the later export date, then the later arrival of
-- the file, then the later row. by_supplier and by_pickup: whose word the row is; a file of the whole network speaks
-- for both sides. A row of a branch that does not supply is a pick-up branch's row, or it would be held.
SELECT
    row_number() OVER (ORDER BY changed_at, file_rank, row) AS told_rank,
    file_id,
    row,
    pickup_organisation,
    reservation_id,
    coalesce(supplying_branch, '') AS supplying_branch,
    pickup_branch,
    is_network OR exporting_branch = supplying_branch AS by_supplier,
    is_network OR exporting_branch IS DISTINCT FROM supplying_branch AS by_pickup,
    item_barcode,
    material_type,
    status,
    close_reason,
    requested_at,
    shipped_at,
    received_at,
    collected_at,
    closed_at,
    requested_at_utc,
    shipped_at_utc,
    received_at_utc
FROM staging.judged_row
WHERE held_by IS NULL AND is_active
