-- grain: one row a row of an export that counts
-- key: told_rank
-- materialize: table
-- told_rank is the order in which rows count: newest changed_at, then the later export date, then the later arrival of
-- the file, then the later row: the four in one number, 64 bits, 32 and 32. by_supplier and by_pickup: whose word the row is; a file of the whole network speaks
-- for both sides. A row of a branch that does not supply is a pick-up branch's row, or it would be held.
SELECT
    epoch_us(changed_at)::HUGEINT * 18446744073709551616 + file_rank * 4294967296 + row AS told_rank,
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
