-- grain: one row a kind of drift, and the figure of a branch, a lane or a pair of branches in which it shows
-- key: kind, figure, supplying_branch, pickup_branch, branch
-- materialize: table
-- What no single row shows: figures that went astray against their own history. It looks at the last two weeks and the
-- sixteen weeks before them, on days that tell something: transport days of which the branch (of a lane: both branches)
-- delivered the export. A branch is compared weekday by weekday with its own median, and with none before there are six
-- days of that weekday: so missing exports, holidays, closings and a branch's first weeks are no drift.
-- branch or the lane is where to look; of rows that shifted, branch gained them and other_branch lost them.
-- docs/drift.md says what stretch each kind needs; bench/drift.py measures it.
WITH setting AS (
    SELECT
        as_of,
        as_of - 126 AS history_from,
        as_of - 14 AS recent_from,
        as_of - 28 AS closed_from -- what is not collected is closed some weeks after its receipt
    FROM reference.run
),
open_day AS MATERIALIZED (
    SELECT export_date AS date, count(*) AS open_branches
    FROM marts.feed_day
    WHERE export_date >= (SELECT history_from FROM setting)
    GROUP BY export_date
),
told AS MATERIALIZED (
    SELECT
        f.branch,
        f.organisation,
        f.export_date AS date,
        d.iso_weekday,
        f.export_date >= s.recent_from AS is_recent,
        -- readers move to another branch when theirs closes, and back: then nothing is compared with before
        o.open_branches = (
            SELECT mode(open_branches) FROM open_day WHERE date < (SELECT recent_from FROM setting)
        ) AS is_open_as_usual
    FROM marts.feed_day AS f
    CROSS JOIN setting AS s
    JOIN marts.dim_date AS d ON f.export_date = d.date
    JOIN open_day AS o ON f.export_date = o.date
    WHERE f.export_date >= s.history_from AND f.state IN ('received', 'late') AND d.is_transport_day
),
lane_day AS MATERIALIZED (
    SELECT l.supplying_branch, l.pickup_branch, l.sent, l.delivered, p.* EXCLUDE (branch, organisation)
    FROM marts.agg_lane_day AS l
    JOIN told AS s ON l.supplying_branch = s.branch AND l.date = s.date
    JOIN told AS p ON l.pickup_branch = p.branch AND l.date = p.date
    WHERE l.date >= (SELECT history_from FROM setting)
),
figure_day AS MATERIALIZED (
    SELECT
        f.figure, '' AS supplying_branch, '' AS pickup_branch, t.branch, t.organisation, t.date, t.iso_weekday,
        t.is_recent, t.is_open_as_usual, CASE f.figure WHEN 'received' THEN b.received ELSE b.sent END AS n
    FROM marts.agg_branch_day AS b
    JOIN told AS t ON b.branch = t.branch AND b.date = t.date
    CROSS JOIN (VALUES ('received'), ('sent')) AS f (figure)
    WHERE b.date >= (SELECT history_from FROM setting)
    UNION ALL
    SELECT
        f.figure, l.supplying_branch, l.pickup_branch, '', '', l.date, l.iso_weekday, l.is_recent, l.is_open_as_usual,
        CASE f.figure WHEN 'delivered' THEN l.delivered ELSE l.sent END
    FROM lane_day AS l
    CROSS JOIN (VALUES ('delivered'), ('sent')) AS f (figure)
),
usual AS (
    SELECT figure, supplying_branch, pickup_branch, branch, iso_weekday, median(n) AS usual
    FROM figure_day
    WHERE NOT is_recent
    GROUP BY figure, supplying_branch, pickup_branch, branch, iso_weekday
    HAVING count(*) >= 6
),
-- back: how many days that tell something ago, 1 for the last; since_then: the sum of the figure since that day
compared AS MATERIALIZED (
    SELECT d.*, u.usual, row_number() OVER latest AS back, sum(d.n) OVER latest AS since_then
    FROM figure_day AS d
    JOIN usual AS u USING (figure, supplying_branch, pickup_branch, branch, iso_weekday)
    WINDOW latest AS (PARTITION BY d.figure, d.supplying_branch, d.pickup_branch, d.branch ORDER BY d.date DESC)
),
-- a branch whose exports tell no receipt, on five days and more, though others sent to it; whatever it was used to
no_receipts_day AS (
    SELECT t.branch, t.date, sum(b.received) OVER (PARTITION BY t.branch ORDER BY t.date DESC) AS since_then
    FROM told AS t
    JOIN marts.agg_branch_day AS b ON t.branch = b.branch AND t.date = b.date
    WHERE b.date >= (SELECT history_from FROM setting)
),
no_receipts_stretch AS (
    SELECT branch, min(date) AS since, max(date) AS until
    FROM no_receipts_day
    WHERE since_then = 0
    GROUP BY branch
    HAVING count(*) >= 5 AND max(date) >= (SELECT recent_from FROM setting)
),
no_receipts AS (
    SELECT
        'no_receipts' AS kind, 'received' AS figure, '' AS supplying_branch, '' AS pickup_branch, r.branch,
        '' AS other_branch, r.since, r.until, 0 AS observed, sum(l.sent) AS usual, 'reservations' AS unit
    FROM no_receipts_stretch AS r
    JOIN marts.agg_lane_day AS l ON r.branch = l.pickup_branch AND l.date BETWEEN r.since AND r.until
    GROUP BY r.branch, r.since, r.until
    HAVING sum(l.sent) >= 15
),
-- a figure that is nothing on two days and more on which it would have been 15 together
zero AS (
    SELECT
        'zero' AS kind, figure, supplying_branch, pickup_branch, branch, '' AS other_branch, min(date) AS since,
        max(date) AS until, 0 AS observed, sum(usual) AS usual, 'reservations' AS unit
    FROM compared
    WHERE since_then = 0
    GROUP BY figure, supplying_branch, pickup_branch, branch
    HAVING count(*) >= 2 AND sum(usual) >= 15 AND bool_or(is_recent)
        AND (branch <> '' OR avg(usual) >= 4) -- busy lanes alone
),
-- three days of a branch, five of a lane, together about twice the usual, and each of them well above it
doubled AS (
    SELECT
        'doubled' AS kind, figure, supplying_branch, pickup_branch, branch, '' AS other_branch, min(date) AS since,
        max(date) AS until, sum(n) AS observed, sum(usual) AS usual, 'reservations' AS unit
    FROM compared
    WHERE back <= CASE WHEN branch <> '' THEN 3 ELSE 5 END AND is_recent AND is_open_as_usual
    GROUP BY figure, supplying_branch, pickup_branch, branch
    HAVING count(*) = CASE WHEN branch <> '' THEN 3 ELSE 5 END AND sum(usual) >= 25
        AND sum(n) BETWEEN 1.6 * sum(usual) AND 2.6 * sum(usual)
        AND sum(n) - sum(usual) >= 5.5 * sqrt(sum(usual))
        AND bool_and(n >= 1.2 * usual)
),
-- branches of an organisation whose receipts jump and drop in the same three days, by about as much together (what
-- comes to stand at its own supplier is local, and leaves the count)
moved AS (
    SELECT
        organisation, branch, min(date) AS since, max(date) AS until, sum(n) AS n, sum(usual) AS usual,
        sum(n) - sum(usual) AS excess
    FROM compared
    WHERE figure = 'received' AND branch <> '' AND back <= 3 AND is_recent AND is_open_as_usual
    GROUP BY organisation, branch
    HAVING count(*) = 3
),
astray AS (
    SELECT *
    FROM moved
    WHERE abs(excess) >= 4 * sqrt(usual) AND (n >= 1.3 * usual OR n <= 0.7 * usual)
),
shifted AS (
    SELECT
        'shifted' AS kind, 'received' AS figure, '' AS supplying_branch, '' AS pickup_branch,
        arg_max(branch, excess) AS branch, arg_min(branch, excess) AS other_branch, min(since) AS since,
        max(until) AS until, arg_max(n, excess) AS observed, arg_max(usual, excess) AS usual, 'reservations' AS unit
    FROM astray
    GROUP BY organisation
    HAVING max(excess) > 0 AND min(excess) < 0
        AND abs(sum(excess)) <= 0.6 * greatest(sum(excess) FILTER (excess > 0), -sum(excess) FILTER (excess < 0))
),
-- legs received, by branch; the pick-up branch's own word
received_leg AS MATERIALIZED (
    SELECT
        l.pickup_branch AS branch, l.received_at::DATE AS date, l.received_at, l.pickup_shipped_at,
        l.pickup_material_type, l.collected_at, l.close_reason, l.closed_at
    FROM marts.fct_leg AS l
    WHERE l.received_at >= (SELECT history_from FROM setting) AND l.state = 'delivered'
),
leg_day AS MATERIALIZED (
    SELECT
        branch,
        date,
        count(*) AS n,
        count(*) FILTER (pickup_shipped_at = received_at) AS n_copied,
        count(*) FILTER (pickup_shipped_at IS NULL) AS n_not_shipped_at,
        count(*) FILTER (pickup_material_type IS NULL) AS n_no_material_type,
        count(*) FILTER (collected_at IS NULL) AS n_not_collected_at
    FROM received_leg
    GROUP BY branch, date
),
told_back AS MATERIALIZED (
    SELECT branch, date, is_recent, row_number() OVER (PARTITION BY branch ORDER BY date DESC) AS back
    FROM told
),
-- the moment of sending copied from that of the receipt, or the other way round, for most receipts of five days
copied_branch AS (
    SELECT
        'copied' AS kind, 'shipped_at' AS figure, '' AS supplying_branch, '' AS pickup_branch, l.branch,
        '' AS other_branch, min(l.date) AS since, max(l.date) AS until,
        100.0 * sum(l.n_copied) / sum(l.n) AS observed, 0 AS usual, 'pct' AS unit
    FROM leg_day AS l
    JOIN told_back AS t USING (branch, date)
    WHERE t.back <= 5 AND t.is_recent
    GROUP BY l.branch
    HAVING sum(l.n_copied) >= greatest(15, 0.5 * sum(l.n))
),
-- a lane of which as much was sent as was delivered, on eight days with traffic and more, 40 together
lane_traffic AS (
    SELECT
        *,
        count(*) FILTER (sent <> delivered) OVER (
            PARTITION BY supplying_branch, pickup_branch ORDER BY date DESC
        ) AS unequal_since_then
    FROM lane_day
    WHERE sent > 0 OR delivered > 0
),
copied_lane AS (
    SELECT
        'copied' AS kind, 'delivered' AS figure, supplying_branch, pickup_branch, '' AS branch, '' AS other_branch,
        min(date) AS since, max(date) AS until, sum(delivered) AS observed, sum(delivered) AS usual,
        'reservations' AS unit
    FROM lane_traffic
    WHERE unequal_since_then = 0
    GROUP BY supplying_branch, pickup_branch
    HAVING count(*) >= 8 AND sum(delivered) >= 40 AND bool_or(is_recent)
),
-- shares of empty values: of the receipts of the last three and the last ten days; of what was closed, by its receipt
emptied AS (
    SELECT branch, 3 AS days, date, is_recent AND back <= 3 AS is_now, NOT is_recent AS is_before
    FROM told_back
    UNION ALL
    SELECT branch, 10, date, is_recent AND back <= 10, NOT is_recent
    FROM told_back
),
empty_share AS (
    SELECT
        f.figure, l.branch, e.days, min(l.date) FILTER (e.is_now) AS since, max(l.date) FILTER (e.is_now) AS until,
        sum(l.n) FILTER (e.is_now) AS n,
        sum(f.n_empty) FILTER (e.is_now) AS n_empty,
        sum(l.n) FILTER (e.is_before) AS n_before,
        sum(f.n_empty) FILTER (e.is_before) AS n_empty_before
    FROM leg_day AS l
    JOIN emptied AS e USING (branch, date)
    CROSS JOIN LATERAL (
        VALUES
            ('shipped_at', l.n_not_shipped_at),
            ('material_type', l.n_no_material_type),
            ('collected_at', l.n_not_collected_at)
    ) AS f (figure, n_empty)
    WHERE e.is_now OR e.is_before
    GROUP BY f.figure, l.branch, e.days
    UNION ALL
    SELECT
        'closed_at', l.branch, 0, min(l.date) FILTER (l.date >= s.closed_from), max(l.date),
        count(*) FILTER (l.date >= s.closed_from),
        count(*) FILTER (l.date >= s.closed_from AND l.closed_at IS NULL),
        count(*) FILTER (l.date < s.closed_from),
        count(*) FILTER (l.date < s.closed_from AND l.closed_at IS NULL)
    FROM received_leg AS l
    CROSS JOIN setting AS s
    WHERE l.close_reason IS NOT NULL
    GROUP BY l.branch
),
judged_share AS (
    SELECT *, n_empty / n AS share, greatest(0.01, n_empty_before / n_before) AS share_before
    FROM empty_share
    WHERE n >= 10 AND n_before >= 100
),
empty AS (
    SELECT
        'empty' AS kind, figure, '' AS supplying_branch, '' AS pickup_branch, branch, '' AS other_branch,
        max(since) AS since, max(until) AS until, 100.0 * arg_max(share, since) AS observed,
        100.0 * any_value(n_empty_before / n_before) AS usual, 'pct' AS unit
    FROM judged_share
    WHERE share >= share_before + 0.1 AND n_empty - n * share_before >= 5 * sqrt(n * share_before * (1 - share_before))
        AND n_empty >= 8
    GROUP BY figure, branch
),
-- exports of days on which the branch is closed, by the register and the calendar
closed_day_export AS (
    SELECT f.branch, f.export_date, f.export_date >= s.recent_from AS is_recent
    FROM staging.file AS f
    CROSS JOIN setting AS s
    WHERE f.is_active AND NOT f.is_network AND f.export_date >= s.history_from AND f.export_date < s.as_of
        AND NOT EXISTS (
            SELECT 1 FROM marts.feed_day AS d
            WHERE d.branch = f.branch AND d.export_date = f.export_date AND d.export_date >= s.history_from
        )
),
closed_export AS (
    SELECT
        'closed_day' AS kind, 'exports' AS figure, '' AS supplying_branch, '' AS pickup_branch, branch,
        '' AS other_branch, min(export_date) FILTER (is_recent) AS since, max(export_date) AS until,
        count(*) FILTER (is_recent) AS observed, count(*) FILTER (NOT is_recent) / 8 AS usual, 'exports' AS unit
    FROM closed_day_export
    GROUP BY branch
    HAVING count(*) FILTER (is_recent) >= 2 AND count(*) FILTER (is_recent) >= 3 * count(*) FILTER (NOT is_recent) / 8
),
-- receipts on days without transport, in two weeks
still_day AS (
    SELECT b.branch, b.date, b.received, b.date >= s.recent_from AS is_recent, d.iso_weekday = 6 AS is_saturday
    FROM marts.agg_branch_day AS b
    CROSS JOIN setting AS s
    JOIN marts.dim_date AS d ON b.date = d.date
    WHERE b.date >= s.history_from AND b.date < s.as_of AND NOT d.is_transport_day
),
still_usual AS (
    SELECT branch, is_saturday, avg(received) AS usual
    FROM still_day
    WHERE NOT is_recent
    GROUP BY branch, is_saturday
    HAVING count(*) >= 6
),
still_receipts AS (
    SELECT
        'closed_day' AS kind, 'received' AS figure, '' AS supplying_branch, '' AS pickup_branch, branch,
        '' AS other_branch, min(d.date) FILTER (d.received > u.usual) AS since, max(d.date) AS until,
        sum(d.received) AS observed, sum(u.usual) AS usual, 'reservations' AS unit
    FROM still_day AS d
    JOIN still_usual AS u USING (branch, is_saturday)
    WHERE d.is_recent
    GROUP BY branch
    HAVING sum(d.received) >= greatest(10, 3 * sum(u.usual)) AND sum(d.received) - sum(u.usual) >= 5 * sqrt(sum(u.usual))
),
found AS MATERIALIZED (
    FROM no_receipts
    UNION ALL
    FROM zero
    UNION ALL
    FROM doubled
    UNION ALL
    FROM shifted
    UNION ALL
    FROM copied_branch
    UNION ALL
    FROM copied_lane
    UNION ALL
    FROM empty
    UNION ALL
    FROM closed_export
    UNION ALL
    FROM still_receipts
)
SELECT
    f.kind,
    f.figure,
    f.supplying_branch,
    f.pickup_branch,
    f.branch,
    f.other_branch,
    f.since,
    f.until,
    f.observed::DOUBLE AS observed,
    f.usual::DOUBLE AS usual,
    f.unit
FROM found AS f
WHERE NOT EXISTS (
    -- what a branch explains is not told of its lanes again, nor twice of the branch
    SELECT 1 FROM found AS b
    WHERE (
        f.branch = '' AND b.branch <> '' AND f.kind IN ('zero', 'doubled')
        AND b.kind IN (f.kind, CASE f.kind WHEN 'zero' THEN 'no_receipts' END)
        AND (b.branch = f.pickup_branch AND b.figure = 'received' OR b.branch = f.supplying_branch AND b.figure = 'sent')
    ) OR (
        f.branch <> '' AND f.figure = 'received' AND b.branch = f.branch
        AND (f.kind, b.kind) IN (('zero', 'no_receipts'), ('doubled', 'shifted'))
    )
)
