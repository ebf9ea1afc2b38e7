-- grain: one row a row that bronze accepted; is_active is false for rows of superseded files
-- key: file_id, row
-- materialize: view
-- Rows with the branches that their codes mean, and whether those were open on the day of the receipt.
SELECT
    r.file_id,
    r.row,
    f.file_rank,
    f.branch AS exporting_branch,
    f.is_network,
    f.is_active,
    r.reservation_id,
    r.item_barcode,
    r.material_type,
    r.supplying_code,
    r.pickup_code,
    s.branch AS supplying_branch,
    p.branch AS pickup_branch,
    p.organisation AS pickup_organisation,
    r.status,
    r.close_reason,
    r.requested_at,
    r.shipped_at,
    r.received_at,
    r.collected_at,
    r.closed_at,
    r.changed_at,
    r.requested_at_utc,
    r.shipped_at_utc,
    r.received_at_utc,
    r.correction,
    r.is_dropped,
    CASE
        WHEN so.is_always_open THEN true
        ELSE len(list_filter(
            so.open_periods, lambda period: r.received_at::DATE BETWEEN period.opened_on AND period.closed_on
        )) > 0
    END AS supplying_open,
    CASE
        WHEN po.is_always_open THEN true
        ELSE len(list_filter(
            po.open_periods, lambda period: r.received_at::DATE BETWEEN period.opened_on AND period.closed_on
        )) > 0
    END AS pickup_open
FROM staging.corrected_row AS r
JOIN staging.file AS f ON r.file_id = f.file_id
LEFT JOIN staging.branch_code AS s
    ON r.supplying_code = s.ils_code
    AND f.export_date >= s.valid_from AND f.export_date < s.valid_before
LEFT JOIN staging.branch_code AS p
    ON r.pickup_code = p.ils_code
    AND f.export_date >= p.valid_from AND f.export_date < p.valid_before
LEFT JOIN staging.branch_open AS so ON s.branch = so.branch
LEFT JOIN staging.branch_open AS po ON p.branch = po.branch
