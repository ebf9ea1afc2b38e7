-- grain: one row a leg that somebody must do something about, and the branch that must: two of an item that is under way too long
-- key: pickup_organisation, reservation_id, supplying_branch, task
-- materialize: table
-- Items that should have arrived or left, and receipts that the pick-up branch did not confirm. waiting_transport_days
-- leaves out the days on which the branch at either end was closed by the register; an item leaves the list once a row
-- tells that it arrived, left or was cancelled. No supplier known: nobody to ask, and not listed.
-- task: find_at_supplier and find_at_pickup: sent, not received, and overdue; send: asked of the supplying branch, and not
-- sent; deliver_export: received by the supplier's word alone, while the pick-up branch's export of that day is not
-- there; register_receipt: that export is there, and does not tell the receipt. Of an export of before the network's
-- first one nobody is asked for anything.
WITH open_leg AS (
    SELECT
        l.pickup_organisation,
        l.reservation_id,
        l.supplying_branch,
        l.pickup_branch,
        l.supplying_organisation,
        l.state,
        l.item_barcode,
        l.material_type,
        l.supplier_file_id,
        l.supplier_row,
        l.pickup_file_id,
        l.pickup_row,
        CASE l.state
            WHEN 'in_transit' THEN l.shipped_at
            WHEN 'requested' THEN l.requested_at
            ELSE l.unconfirmed_received_at
        END::DATE AS since
    FROM marts.fct_leg AS l
    WHERE l.state IN ('in_transit', 'requested', 'unconfirmed') AND l.supplying_branch <> ''
),
closed_day AS (
    SELECT b.branch, d.date
    FROM staging.branch_open AS b
    CROSS JOIN reference.run AS run
    JOIN marts.dim_date AS d ON d.is_transport_day AND d.date <= run.as_of
    WHERE NOT b.is_always_open
        AND len(list_filter(b.open_periods, lambda period: d.date BETWEEN period.opened_on AND period.closed_on)) = 0
),
lane AS (
    SELECT DISTINCT supplying_branch, pickup_branch
    FROM open_leg
),
-- the closing days of either end, and how many there were of a lane up to each
lane_closed AS (
    SELECT supplying_branch, pickup_branch, date, row_number() OVER lane_days AS number
    FROM (
        SELECT l.supplying_branch, l.pickup_branch, c.date
        FROM lane AS l
        JOIN closed_day AS c ON l.supplying_branch = c.branch
        UNION
        SELECT l.supplying_branch, l.pickup_branch, c.date
        FROM lane AS l
        JOIN closed_day AS c ON l.pickup_branch = c.branch
    )
    WINDOW lane_days AS (PARTITION BY supplying_branch, pickup_branch ORDER BY date)
),
lane_total AS (
    SELECT supplying_branch, pickup_branch, max(number) AS days
    FROM lane_closed
    GROUP BY supplying_branch, pickup_branch
),
waiting AS (
    SELECT
        l.*,
        -- dim_date does not reach back to every request: days before it are not counted
        today.transport_day_number - coalesce(since_day.transport_day_number, 0)
            - (coalesce(t.days, 0) - coalesce(c.number, 0)) AS waiting_transport_days
    FROM open_leg AS l
    CROSS JOIN reference.run AS run
    JOIN marts.dim_date AS today ON run.as_of = today.date
    LEFT JOIN marts.dim_date AS since_day ON l.since = since_day.date
    LEFT JOIN lane_total AS t
        ON l.supplying_branch = t.supplying_branch AND l.pickup_branch = t.pickup_branch
    ASOF LEFT JOIN lane_closed AS c
        ON l.supplying_branch = c.supplying_branch AND l.pickup_branch = c.pickup_branch AND l.since >= c.date
    WHERE l.since IS NOT NULL
),
-- the export that should tell the receipt: of that day, or of the first day after it on which the branch delivers one
told AS (
    SELECT w.pickup_organisation, w.reservation_id, w.supplying_branch, f.export_date, f.state AS export_state
    FROM (SELECT * FROM waiting WHERE state = 'unconfirmed') AS w
    ASOF JOIN marts.feed_day AS f ON w.pickup_branch = f.branch AND w.since <= f.export_date
),
listed AS (
    SELECT
        w.*,
        t.export_date,
        t.export_state,
        unnest(CASE
            WHEN t.export_state = 'not_begun' THEN []
            WHEN t.export_state IN ('received', 'late') THEN ['register_receipt']
            WHEN w.state = 'unconfirmed' THEN ['deliver_export']
            WHEN w.state = 'in_transit' AND w.waiting_transport_days > p.overdue_after_transport_days
                THEN ['find_at_supplier', 'find_at_pickup']
            WHEN w.state = 'requested' AND w.waiting_transport_days > p.unsent_after_transport_days THEN ['send']
            ELSE []
        END) AS task
    FROM waiting AS w
    CROSS JOIN reference.parameter AS p
    LEFT JOIN told AS t USING (pickup_organisation, reservation_id, supplying_branch)
)
SELECT
    CASE WHEN task IN ('find_at_supplier', 'send') THEN supplying_branch ELSE pickup_branch END AS branch,
    task,
    pickup_organisation,
    reservation_id,
    supplying_branch,
    pickup_branch,
    supplying_organisation,
    item_barcode,
    material_type,
    since,
    waiting_transport_days::INTEGER AS waiting_transport_days,
    export_date AS told_by_export_of,
    export_state AS told_by_export_state,
    supplier_file_id,
    supplier_row,
    pickup_file_id,
    pickup_row
FROM listed
