-- For each file that came between two runs the deliveries that appeared and vanished by it. A delivery that moved to
-- another day, lane or file of the same story is both. The file behind a change is the new one that the leg rests on
-- now, or else the one that replaced the file on which it rested.
WITH changed AS (
    SELECT
        a.state = 'delivered' AS appeared,
        b.state = 'delivered' AS vanished,
        a.pickup_file_id AS pickup_after,
        a.supplier_file_id AS supplier_after,
        b.pickup_file_id AS pickup_before,
        b.supplier_file_id AS supplier_before
    FROM side.before_leg AS b
    FULL JOIN side.after_leg AS a USING (pickup_organisation, reservation_id, supplying_branch)
    WHERE (coalesce(a.state = 'delivered', false) OR coalesce(b.state = 'delivered', false))
        AND (a.state, a.received_at::DATE, a.pickup_branch)
        IS DISTINCT FROM (b.state, b.received_at::DATE, b.pickup_branch)
),
replaced AS (
    SELECT b.file_id AS before_id, max(n.file_id) AS after_id
    FROM side.before_file AS b
    JOIN side.new_file AS n USING (branch, format, export_date)
    WHERE n.verdict = 'read' AND b.verdict = 'read'
    GROUP BY b.file_id
),
caused AS (
    SELECT
        coalesce(c.appeared, false) AS appeared,
        coalesce(c.vanished, false) AS vanished,
        coalesce(np.file_id, rp.after_id, ns.file_id, rs.after_id) AS file_id
    FROM changed AS c
    LEFT JOIN side.new_file AS np ON c.pickup_after = np.file_id
    LEFT JOIN side.new_file AS ns ON c.supplier_after = ns.file_id
    LEFT JOIN replaced AS rp ON c.pickup_before = rp.before_id
    LEFT JOIN replaced AS rs ON c.supplier_before = rs.before_id
)
SELECT
    n.file_id,
    n.branch,
    n.path AS file,
    n.export_date,
    n.verdict,
    count(*) FILTER (c.appeared)::INTEGER AS deliveries_appeared,
    count(*) FILTER (c.vanished)::INTEGER AS deliveries_vanished
FROM side.new_file AS n
LEFT JOIN caused AS c ON n.file_id = c.file_id
GROUP BY ALL
ORDER BY deliveries_appeared + deliveries_vanished DESC, n.file_id
