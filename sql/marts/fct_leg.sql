-- grain: one row a leg: the journey of one item from a supplying branch to a pick-up branch for one reservation
-- key: pickup_organisation, reservation_id, supplying_branch
-- materialize: table
-- renew: reservation_id
-- Each branch tells every leg that it supplies or receives; per leg and side the newest row counts (staging.told). The
-- supplying branch's row is the authority for the sending, the pick-up branch's for the receipt, the collection and the
-- pick-up branch itself. supplying_branch is '' while no supplier is known. docs/counting.md explains the states.
-- A leg rests on the rows of its reservation and on reference data, never on the day of the run: see renew.
WITH side AS (
    SELECT
        pickup_organisation,
        reservation_id,
        supplying_branch,
        max(told_rank) FILTER (by_supplier) AS supplier_rank,
        max(told_rank) FILTER (by_supplier AND pickup_branch = supplying_branch) AS local_rank,
        max(told_rank) FILTER (by_pickup) AS other_rank
    FROM staging.told
    GROUP BY pickup_organisation, reservation_id, supplying_branch
),
leg AS (
    SELECT
        pickup_organisation,
        reservation_id,
        supplying_branch,
        supplier_rank,
        -- a supplier's own row is the pick-up branch's too while its newest row says that it keeps the item (local)
        CASE WHEN local_rank = supplier_rank THEN greatest(supplier_rank, other_rank) ELSE other_rank END
            AS pickup_rank
    FROM side
),
-- what the pick-up branch's newest row says of the reservation as a whole, where it has more than one leg
reservation AS (
    SELECT
        pickup_organisation,
        reservation_id,
        arg_max(supplying_branch, pickup_rank) AS newest_supplier,
        max(pickup_rank) AS newest_rank
    FROM leg
    GROUP BY pickup_organisation, reservation_id
    HAVING count(*) > 1
),
evidence AS (
    SELECT
        leg.*,
        coalesce(r.newest_supplier NOT IN ('', leg.supplying_branch), false) AS names_other_supplier,
        -- a newer pick-up row without supplier says nothing against the leg, unless it is closed
        CASE WHEN r.newest_supplier = '' THEN r.newest_rank END AS without_supplier_rank
    FROM leg
    LEFT JOIN reservation AS r USING (pickup_organisation, reservation_id)
    WHERE leg.supplying_branch <> '' OR r.reservation_id IS NULL
),
joined AS (
    SELECT
        e.pickup_organisation,
        e.reservation_id,
        e.supplying_branch,
        e.names_other_supplier,
        coalesce(p.pickup_branch, s.pickup_branch) AS pickup_branch,
        coalesce(s.item_barcode, p.item_barcode) AS item_barcode,
        coalesce(p.material_type, s.material_type) AS material_type,
        coalesce(p.requested_at, s.requested_at) AS requested_at,
        coalesce(p.requested_at_utc, s.requested_at_utc) AS requested_at_utc,
        -- without a row of the supplier, the pick-up branch's word on the sending is all there is
        CASE WHEN s.told_rank IS NULL THEN p.shipped_at ELSE s.shipped_at END AS shipped_at,
        CASE WHEN s.told_rank IS NULL THEN p.shipped_at_utc ELSE s.shipped_at_utc END AS shipped_at_utc,
        CASE WHEN s.told_rank IS NULL THEN p.status ELSE s.status END AS sending_status,
        s.told_rank IS NOT NULL AND (s.shipped_at IS NOT NULL OR s.status IN ('T', 'O', 'B', 'U', 'R'))
            AS is_announced,
        s.status AS supplier_status,
        s.received_at AS supplier_received_at,
        p.received_at,
        p.received_at_utc,
        p.collected_at,
        -- what the pick-up branch's own row says, whatever the supplier's does: only so is a column seen that it lost
        p.shipped_at AS pickup_shipped_at,
        p.material_type AS pickup_material_type,
        p.status = 'Z' AND p.close_reason = '8' AS is_not_collected,
        CASE WHEN w.status = 'Z' THEN w.status ELSE p.status END AS pickup_status,
        CASE WHEN w.status = 'Z' THEN w.closed_at ELSE coalesce(p.closed_at, s.closed_at) END AS closed_at,
        CASE WHEN w.status = 'Z' THEN w.close_reason ELSE coalesce(p.close_reason, s.close_reason) END
            AS close_reason,
        s.file_id AS supplier_file_id,
        s.row AS supplier_row,
        p.file_id AS pickup_file_id,
        p.row AS pickup_row
    FROM evidence AS e
    LEFT JOIN staging.told AS s ON e.supplier_rank = s.told_rank
    LEFT JOIN staging.told AS p ON e.pickup_rank = p.told_rank
    LEFT JOIN staging.told AS w ON e.without_supplier_rank = w.told_rank
),
stated AS (
    SELECT
        *,
        CASE
            WHEN names_other_supplier THEN 'superseded'
            WHEN supplying_branch = pickup_branch THEN 'local'
            WHEN received_at IS NOT NULL THEN 'delivered'
            WHEN pickup_status = 'Z' THEN 'cancelled'
            WHEN supplier_received_at IS NOT NULL THEN 'unconfirmed'
            WHEN supplier_status = 'Z' THEN 'cancelled'
            WHEN supplying_branch <> ''
                AND (shipped_at IS NOT NULL OR sending_status IN ('T', 'O', 'B', 'U', 'R')) THEN 'in_transit'
            ELSE 'requested'
        END AS state
    FROM joined
)
SELECT
    s.pickup_organisation,
    s.reservation_id,
    s.supplying_branch,
    s.pickup_branch,
    coalesce(o.organisation, '') AS supplying_organisation,
    s.state,
    s.item_barcode,
    s.material_type,
    s.requested_at,
    s.shipped_at,
    CASE WHEN s.state IN ('delivered', 'local') THEN s.received_at END AS received_at,
    CASE WHEN s.state IN ('delivered', 'local') THEN s.collected_at END AS collected_at,
    s.closed_at,
    s.close_reason,
    CASE WHEN s.state = 'unconfirmed' THEN s.supplier_received_at END AS unconfirmed_received_at,
    s.state = 'delivered' AND NOT s.is_announced AS is_unannounced,
    s.state = 'delivered' AND coalesce(s.is_not_collected, false) AS is_not_collected,
    CASE WHEN s.state = 'delivered' AND s.received_at_utc >= s.shipped_at_utc
        THEN epoch(s.received_at_utc - s.shipped_at_utc) / 86400.0 END AS transit_calendar_days,
    CASE WHEN s.state = 'delivered' AND s.received_at_utc >= s.shipped_at_utc
        THEN received_on.transport_day_number - shipped_on.transport_day_number END AS transit_transport_days,
    CASE WHEN s.state = 'delivered' AND s.received_at_utc >= s.requested_at_utc
        THEN epoch(s.received_at_utc - s.requested_at_utc) / 86400.0 END AS fill_days,
    s.supplier_file_id,
    s.supplier_row,
    s.pickup_file_id,
    s.pickup_row,
    s.pickup_shipped_at,
    s.pickup_material_type
FROM stated AS s
LEFT JOIN staging.branch_organisation AS o ON s.supplying_branch = o.branch
LEFT JOIN marts.dim_date AS shipped_on ON s.shipped_at::DATE = shipped_on.date
LEFT JOIN marts.dim_date AS received_on ON s.received_at::DATE = received_on.date
