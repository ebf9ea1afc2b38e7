-- grain: one row a row of a file that was accepted or held
-- key: row
-- What became of each row, by the published warehouse. fate: counts (as the evidence that side names), outvoted (a newer
-- row of the same side counts: newer_file, newer_row), no_supplier and closes (a row without supplier, whose reservation
-- went on as another leg), held, superseded (with its file), rejudged (the register says something else by now).
-- Parameters: $file_id, $row (0: all). `staging` holds the rows of the file's reservations alone, built by sql/staging.
WITH side AS (
    SELECT
        t.*,
        max(t.told_rank) FILTER (t.by_pickup) OVER (PARTITION BY t.pickup_organisation, t.reservation_id)
            AS newest_rank
    FROM staging.told AS t
),
-- where a reservation went on: its newest leg that no other supplier took over
went_on AS (
    SELECT *
    FROM marts.fct_leg
    WHERE reservation_id IN (SELECT reservation_id FROM bronze.row)
    QUALIFY row_number() OVER (
        PARTITION BY pickup_organisation, reservation_id
        ORDER BY state = 'superseded', coalesce(received_at, shipped_at, requested_at) DESC, supplying_branch
    ) = 1
),
matched AS (
    SELECT
        b.row,
        b.reservation_id,
        f.state AS file_state,
        h.rule,
        t.supplying_branch = '' AND l.reservation_id IS NULL AS is_without_leg,
        t.status = 'Z' AND t.told_rank = t.newest_rank AND w.state = 'cancelled' AS is_closing,
        l.supplier_file_id = b.file_id AND l.supplier_row = b.row AS is_supplier_evidence,
        l.pickup_file_id = b.file_id AND l.pickup_row = b.row AS is_pickup_evidence,
        coalesce(l.supplying_branch, w.supplying_branch) AS supplying_branch,
        coalesce(l.pickup_branch, w.pickup_branch) AS pickup_branch,
        coalesce(l.state, w.state) AS leg_state,
        coalesce(l.received_at, w.received_at) AS received_at,
        CASE WHEN t.by_supplier THEN l.supplier_file_id ELSE l.pickup_file_id END AS newer_file_id,
        CASE WHEN t.by_supplier THEN l.supplier_row ELSE l.pickup_row END AS newer_row
    FROM (
        SELECT file_id, row, reservation_id FROM bronze.row
        UNION ALL
        SELECT file_id, row, reservation_id FROM quality.quarantined_row WHERE stage = 'arrival'
    ) AS b
    JOIN quality.file AS f ON b.file_id = f.file_id
    LEFT JOIN quality.quarantined_row AS h ON b.file_id = h.file_id AND b.row = h.row
    LEFT JOIN side AS t ON b.file_id = t.file_id AND b.row = t.row
    LEFT JOIN marts.fct_leg AS l
        ON t.pickup_organisation = l.pickup_organisation AND t.reservation_id = l.reservation_id
        AND t.supplying_branch = l.supplying_branch
    LEFT JOIN went_on AS w
        ON t.supplying_branch = '' AND t.pickup_organisation = w.pickup_organisation
        AND t.reservation_id = w.reservation_id
    WHERE b.file_id = $file_id AND ($row = 0 OR b.row = $row)
),
fated AS (
    SELECT
        *,
        CASE
            WHEN rule IS NOT NULL THEN 'held'
            WHEN file_state = 'superseded' THEN 'superseded'
            WHEN is_supplier_evidence OR is_pickup_evidence THEN 'counts'
            WHEN is_closing THEN 'closes'
            WHEN is_without_leg THEN 'no_supplier'
            WHEN newer_file_id IS NULL THEN 'rejudged'
            ELSE 'outvoted'
        END AS fate
    FROM matched
)
SELECT
    m.row,
    m.reservation_id,
    m.fate,
    CASE
        WHEN m.fate <> 'counts' THEN NULL
        WHEN m.is_supplier_evidence AND m.is_pickup_evidence THEN 'both'
        WHEN m.is_supplier_evidence THEN 'supplier'
        ELSE 'pickup'
    END AS side,
    m.rule,
    CASE WHEN m.fate NOT IN ('held', 'superseded') THEN m.supplying_branch END AS supplying_branch,
    CASE WHEN m.fate NOT IN ('held', 'superseded') THEN m.pickup_branch END AS pickup_branch,
    CASE WHEN m.fate NOT IN ('held', 'superseded') THEN m.leg_state END AS leg_state,
    CASE WHEN m.fate NOT IN ('held', 'superseded') THEN m.received_at END AS received_at,
    CASE WHEN m.fate = 'outvoted' THEN n.file END AS newer_file,
    CASE WHEN m.fate = 'outvoted' THEN m.newer_row END AS newer_row
FROM fated AS m
LEFT JOIN quality.file AS n ON m.newer_file_id = n.file_id
ORDER BY m.row
