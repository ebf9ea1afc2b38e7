-- grain: one row a leg that is under way: sent, and not received
-- key: pickup_organisation, reservation_id, supplying_branch
-- materialize: table
-- For how many transport days, up to the day of the run; unknown where the day of sending is.
SELECT
    l.pickup_organisation,
    l.reservation_id,
    l.supplying_branch,
    l.pickup_branch,
    l.supplying_organisation,
    l.item_barcode,
    l.material_type,
    l.shipped_at,
    today.transport_day_number - shipped_on.transport_day_number AS in_transit_transport_days,
    coalesce(in_transit_transport_days > p.overdue_after_transport_days, false) AS is_overdue,
    l.supplier_file_id,
    l.supplier_row,
    l.pickup_file_id,
    l.pickup_row
FROM marts.fct_leg AS l
CROSS JOIN reference.run AS run
CROSS JOIN reference.parameter AS p
LEFT JOIN marts.dim_date AS shipped_on ON l.shipped_at::DATE = shipped_on.date
LEFT JOIN marts.dim_date AS today ON run.as_of = today.date
WHERE l.state = 'in_transit'
