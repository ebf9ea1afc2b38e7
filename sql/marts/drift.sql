-- grain: one row a kind of drift, and the figure of a branch or a lane in which it shows
-- key: kind, figure, supplying_branch, pickup_branch, branch
-- materialize: table
-- What no single row shows: figures that went astray against their own history. docs/drift.md says what each kind means
-- and why its bounds are what they are; bench/drift.py measures how often they are wrong.
-- Only days that tell something are looked at: transport days of which the branch (of a lane: both branches) delivered
-- the export. So a missing export, a holiday and a closed day are no zero. The last two, three and ten such days are
-- compared with the usual: the median of the same weekday in the sixteen weeks that ended three weeks ago, where there
-- are six of it.
-- branch or the lane is where to look; of rows that shifted, branch gained them and other_branch lost them.
WITH setting AS (
    SELECT as_of, as_of - 21 AS recent_from, as_of - 133 AS history_from
    FROM reference.run
),
told AS MATERIALIZED (
    SELECT
        f.branch,
        f.organisation,
        f.export_date AS date,
        d.iso_weekday,
        f.export_date >= s.recent_from AS is_recent,
        row_number() OVER (PARTITION BY f.branch ORDER BY f.export_date DESC) AS back -- 1: the last day told
    FROM marts.feed_day AS f
    CROSS JOIN setting AS s
    JOIN marts.dim_date AS d ON f.export_date = d.date
    WHERE f.export_date >= s.history_from AND f.state IN ('received', 'late') AND d.is_transport_day
),
-- what was sent and received, of lanes and of branches; sent_there: what others sent to the branch
lane_day AS MATERIALIZED (
    SELECT
        l.supplying_branch, l.pickup_branch, '' AS branch, '' AS organisation, l.date, p.iso_weekday, p.is_recent,
        l.delivered AS received, l.sent, l.sent AS sent_there
    FROM marts.agg_lane_day AS l
    JOIN told AS s ON l.supplying_branch = s.branch AND l.date = s.date
    JOIN told AS p ON l.pickup_branch = p.branch AND l.date = p.date
    WHERE l.date >= (SELECT history_from FROM setting)
),
sent_there AS (
    SELECT pickup_branch, date, sum(sent) AS sent_there
    FROM marts.agg_lane_day
    WHERE date >= (SELECT history_from FROM setting)
    GROUP BY pickup_branch, date
),
traffic AS MATERIALIZED (
    FROM lane_day
    UNION ALL
    SELECT '', '', t.branch, t.organisation, t.date, t.iso_weekday, t.is_recent, b.received, b.sent, o.sent_there
    FROM told AS t
    JOIN marts.agg_branch_day AS b ON t.branch = b.branch AND t.date = b.date
    JOIN sent_there AS o ON t.branch = o.pickup_branch AND t.date = o.date
    WHERE b.date >= (SELECT history_from FROM setting)
),
usual AS (
    SELECT
        supplying_branch, pickup_branch, branch, iso_weekday,
        median(received) AS usually_received, median(sent) AS usually_sent
    FROM traffic
    WHERE NOT is_recent
    GROUP BY supplying_branch, pickup_branch, branch, iso_weekday
    HAVING count(*) >= 6
),
counted AS (
    SELECT
        t.supplying_branch, t.pickup_branch, t.branch, t.organisation, t.date, f.*,
        row_number() OVER (
            PARTITION BY t.supplying_branch, t.pickup_branch, t.branch, f.figure ORDER BY t.date DESC
        ) AS back -- 1: the last day
    FROM traffic AS t
    JOIN usual AS u USING (supplying_branch, pickup_branch, branch, iso_weekday)
    CROSS JOIN LATERAL (
        VALUES
            (CASE WHEN t.branch = '' THEN 'delivered' ELSE 'received' END, t.received, u.usually_received),
            ('sent', t.sent, u.usually_sent)
    ) AS f (figure, n, usual)
    WHERE t.is_recent
),
-- how the network does now against the usual: the median of its branches over the last five days, so that a few of them
-- that went astray do not move it. A busy season is no doubling; more than a fifth is none, so that a doubling of everything shows.
season AS (
    SELECT least(greatest(median(ratio), 1), 1.2) AS factor
    FROM (
        SELECT sum(n) / nullif(sum(usual), 0) AS ratio
        FROM counted
        WHERE branch <> '' AND back <= 5
        GROUP BY branch, figure
    )
),
stretch AS MATERIALIZED (
    SELECT
        c.supplying_branch, c.pickup_branch, c.branch, c.organisation, c.figure, w.days,
        min(c.date) AS since,
        max(c.date) AS until,
        sum(c.n) AS n,
        sum(c.usual) AS usual,
        -- by accident a count strays as a Poisson number does, whose square root has a standard deviation of a half
        2 * (sqrt(sum(c.n)) - sqrt(sum(c.usual))) AS deviations,
        -- one crowded day, after one on which the van did not call, is no doubling
        (sum(c.n) - max(c.n)) / nullif(sum(c.usual) - arg_max(c.usual, c.n), 0) AS ratio_without_busiest_day
    FROM counted AS c
    JOIN (VALUES (2), (3), (10)) AS w (days) ON c.back <= w.days
    GROUP BY c.supplying_branch, c.pickup_branch, c.branch, c.organisation, c.figure, w.days
    HAVING count(*) = w.days
),
-- a branch whose exports tell no receipt on three days, though others sent to it; whatever it was used to
no_receipts AS (
    SELECT
        'no_receipts' AS kind, 'received' AS figure, '' AS supplying_branch, '' AS pickup_branch, branch,
        '' AS other_branch, min(t.date) AS since, max(t.date) AS until, 0 AS observed, sum(t.sent_there) AS usual,
        'reservations' AS unit
    FROM traffic AS t
    JOIN told AS d USING (branch, date)
    WHERE d.is_recent AND d.back <= 3
    GROUP BY branch
    HAVING count(*) = 3 AND sum(t.received) = 0 AND sum(t.sent_there) >= 15
),
-- by accident 12 are none once in hundred and sixty thousand times
zero AS (
    SELECT
        'zero' AS kind, figure, supplying_branch, pickup_branch, branch, '' AS other_branch, since, until,
        n AS observed, usual, 'reservations' AS unit
    FROM stretch
    WHERE usual >= 12 AND n <= 0.05 * usual
),
doubled AS (
    SELECT
        'doubled' AS kind, figure, supplying_branch, pickup_branch, branch, '' AS other_branch, since, until,
        n AS observed, usual, 'reservations' AS unit
    FROM stretch
    CROSS JOIN season
    WHERE usual >= 15 AND n >= 1.6 * factor * usual AND 2 * (sqrt(n) - sqrt(1.1 * factor * usual)) >= 4
        AND ratio_without_busiest_day >= 1.5 * factor
),
-- the same item twice on one day from the same branch to the same: told under two numbers. So a doubling also shows
-- in a lane whose counts are too small to tell
item_day AS MATERIALIZED (
    SELECT
        l.figure, l.branch, l.supplying_branch, l.pickup_branch, l.date,
        count(*) AS n, count(DISTINCT l.item_barcode) AS n_items
    FROM (
        SELECT
            'items_received' AS figure, pickup_branch AS branch, supplying_branch, pickup_branch, item_barcode,
            received_at::DATE AS date
        FROM marts.fct_leg
        WHERE received_at >= (SELECT recent_from FROM setting) AND state = 'delivered'
        UNION ALL
        SELECT 'items_sent', supplying_branch, supplying_branch, pickup_branch, item_barcode, shipped_at::DATE
        FROM marts.fct_leg
        WHERE shipped_at >= (SELECT recent_from FROM setting) AND state <> 'local'
            AND supplier_file_id IS NOT NULL -- a sending by the pick-up branch's word is part of the receipt
    ) AS l
    JOIN told AS t ON l.branch = t.branch AND l.date = t.date
    WHERE t.back <= 3 AND l.supplying_branch <> '' AND l.item_barcode IS NOT NULL
    GROUP BY ALL
),
doubled_item AS (
    SELECT
        'doubled' AS kind, figure, coalesce(supplying_branch, '') AS supplying_branch,
        coalesce(pickup_branch, '') AS pickup_branch, coalesce(branch, '') AS branch, '' AS other_branch,
        min(date) AS since, max(date) AS until, sum(n) AS observed, sum(n_items) AS usual, 'reservations' AS unit
    FROM item_day
    GROUP BY GROUPING SETS ((figure, branch), (figure, supplying_branch, pickup_branch))
    HAVING sum(n) >= sum(n_items) + 3 AND sum(n) >= 1.4 * sum(n_items)
),
-- what branches received, against the usual in this season
in_season AS (
    SELECT
        c.branch, c.organisation, c.days, c.since, c.until, c.n, s.factor * c.usual AS usual,
        2 * (sqrt(c.n) - sqrt(s.factor * c.usual)) AS deviations
    FROM stretch AS c
    CROSS JOIN season AS s
    WHERE c.figure = 'received' AND c.branch <> ''
),
-- two branches of one organisation, of which one gains on the same days about what the other loses
shifted AS (
    SELECT
        'shifted' AS kind, 'received' AS figure, '' AS supplying_branch, '' AS pickup_branch, g.branch,
        arg_max(l.branch, l.usual - l.n) AS other_branch, g.since, g.until, any_value(g.n) AS observed,
        any_value(g.usual) AS usual, 'reservations' AS unit
    FROM in_season AS g
    JOIN in_season AS l ON g.organisation = l.organisation AND g.days = l.days AND g.until = l.until
    WHERE g.deviations >= 2.5 AND l.deviations <= -2.5 AND g.deviations - l.deviations >= 7
        AND (g.n >= 1.25 * g.usual OR l.n <= 0.75 * l.usual)
        AND (g.n - g.usual) BETWEEN 0.5 * (l.usual - l.n) AND 2 * (l.usual - l.n)
    GROUP BY g.branch, g.since, g.until
),
-- materialized, so that the scan takes the first day, and not the branches, from what it is joined with
receipt AS MATERIALIZED (
    SELECT pickup_branch, received_at, pickup_shipped_at, pickup_material_type
    FROM marts.fct_leg
    WHERE received_at >= (SELECT history_from FROM setting) AND state = 'delivered'
),
-- what the pick-up branch's own rows tell of its receipts: both are filled when it registers them
receipt_day AS MATERIALIZED (
    SELECT
        t.branch,
        t.date,
        t.is_recent,
        t.back,
        count(*) AS n,
        count(*) FILTER (l.pickup_shipped_at = l.received_at) AS n_copied,
        count(*) FILTER (l.pickup_shipped_at IS NULL) AS n_not_shipped_at,
        count(*) FILTER (l.pickup_material_type IS NULL) AS n_no_material_type
    FROM receipt AS l
    JOIN told AS t ON l.pickup_branch = t.branch AND l.received_at::DATE = t.date
    GROUP BY t.branch, t.date, t.is_recent, t.back
),
copied_moment AS (
    SELECT
        'copied' AS kind, 'shipped_at' AS figure, '' AS supplying_branch, '' AS pickup_branch, branch,
        '' AS other_branch, min(date) AS since, max(date) AS until,
        100.0 * sum(n_copied) / sum(n) AS observed, 0 AS usual, 'pct' AS unit
    FROM receipt_day
    WHERE is_recent AND back <= 3
    GROUP BY branch
    HAVING sum(n_copied) >= greatest(10, 0.5 * sum(n))
),
-- exactly as many received as sent, day after day, since the last day on which they differed. By accident two counts
-- of about n are equal once in sqrt(4 pi n) days (five are five once in eight): unlikely is the number of noughts of
-- that, and of a branch of which all lanes are equal that of all of them.
equal_lanes AS (
    SELECT pickup_branch AS branch, date, sum(0.5 * log10(4 * pi() * received)) AS unlikely
    FROM lane_day
    WHERE sent > 0 OR received > 0
    GROUP BY pickup_branch, date
    HAVING bool_and(sent = received)
),
last_unequal AS (
    SELECT supplying_branch, pickup_branch, branch, max(date) AS date
    FROM traffic
    WHERE sent_there <> received
    GROUP BY supplying_branch, pickup_branch, branch
),
copied_count AS (
    SELECT
        'copied' AS kind, CASE WHEN t.branch = '' THEN 'delivered' ELSE 'received' END AS figure, t.supplying_branch,
        t.pickup_branch, t.branch, '' AS other_branch, min(t.date) AS since, max(t.date) AS until,
        sum(t.received) AS observed, sum(t.received) AS usual, 'reservations' AS unit
    FROM traffic AS t
    LEFT JOIN last_unequal AS u USING (supplying_branch, pickup_branch, branch)
    LEFT JOIN equal_lanes AS e ON t.branch = e.branch AND t.date = e.date
    WHERE t.received > 0 AND t.date > coalesce(u.date, DATE '0001-01-01')
    GROUP BY t.supplying_branch, t.pickup_branch, t.branch
    HAVING count(*) >= 2 AND bool_or(t.is_recent)
        AND sum(greatest(0.5 * log10(4 * pi() * t.received), coalesce(e.unlikely, 0))) >= 6
),
empty_share AS (
    SELECT
        r.branch, f.figure, min(r.date) FILTER (r.is_recent) AS since, max(r.date) FILTER (r.is_recent) AS until,
        sum(r.n) FILTER (r.is_recent) AS n,
        sum(f.n_empty) FILTER (r.is_recent) AS n_empty,
        sum(r.n) FILTER (NOT r.is_recent) AS n_before,
        sum(f.n_empty) FILTER (NOT r.is_recent) / n_before AS usual,
        greatest(0.01, usual) AS share
    FROM receipt_day AS r
    CROSS JOIN LATERAL (
        VALUES ('shipped_at', r.n_not_shipped_at), ('material_type', r.n_no_material_type)
    ) AS f (figure, n_empty)
    WHERE r.back <= 3 OR NOT r.is_recent
    GROUP BY r.branch, f.figure
),
empty AS (
    SELECT
        'empty' AS kind, figure, '' AS supplying_branch, '' AS pickup_branch, branch, '' AS other_branch, since, until,
        100.0 * n_empty / n AS observed, 100.0 * usual AS usual, 'pct' AS unit
    FROM empty_share
    WHERE n_before >= 100 AND n_empty >= 5 AND n_empty / n >= share + 0.1
        AND n_empty - n * share >= 4 * sqrt(n * share * (1 - share))
),
-- exports of days on which the branch is closed, by the register and the calendar; and receipts on such days
closed_export AS (
    SELECT f.branch, 'exports' AS figure, f.export_date AS date, 1 AS n
    FROM staging.file AS f
    CROSS JOIN setting AS s
    WHERE f.is_active AND NOT f.is_network AND f.export_date >= s.history_from AND f.export_date < s.as_of
        AND NOT EXISTS (
            SELECT 1 FROM marts.feed_day AS d
            WHERE d.branch = f.branch AND d.export_date = f.export_date AND d.export_date >= s.history_from
        )
),
closed_receipt AS (
    SELECT b.branch, 'received' AS figure, b.date, b.received AS n
    FROM marts.agg_branch_day AS b
    CROSS JOIN setting AS s
    JOIN marts.dim_date AS d ON b.date = d.date
    WHERE b.date >= s.history_from AND b.date < s.as_of AND NOT d.is_export_day AND b.received > 0
),
closed_day AS (
    SELECT
        'closed_day' AS kind, figure, '' AS supplying_branch, '' AS pickup_branch, branch, '' AS other_branch,
        min(date) FILTER (date >= s.recent_from) AS since, max(date) FILTER (date >= s.recent_from) AS until,
        sum(n) FILTER (date >= s.recent_from) AS observed,
        -- in three weeks, of the sixteen before
        coalesce(sum(n) FILTER (date < s.recent_from), 0) * 3 / 16 AS usual,
        CASE figure WHEN 'exports' THEN 'exports' ELSE 'reservations' END AS unit
    FROM (FROM closed_export UNION ALL FROM closed_receipt)
    CROSS JOIN setting AS s
    GROUP BY branch, figure
    HAVING observed > 3 * usual AND observed >= CASE figure WHEN 'exports' THEN 1 ELSE 5 END
),
found AS MATERIALIZED (
    FROM no_receipts
    UNION ALL
    FROM zero
    UNION ALL
    FROM doubled
    UNION ALL
    FROM doubled_item
    UNION ALL
    FROM shifted
    UNION ALL
    FROM copied_moment
    UNION ALL
    FROM copied_count
    UNION ALL
    FROM empty
    UNION ALL
    FROM closed_day
),
-- branches whose counts went astray: that explains their lanes
astray AS (
    SELECT branch FROM found WHERE branch <> '' AND kind IN ('no_receipts', 'zero', 'doubled', 'shifted')
    UNION
    SELECT other_branch FROM found WHERE kind = 'shifted'
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
-- one thing is told once
WHERE NOT (
    f.kind IN ('zero', 'doubled')
    AND CASE
        WHEN f.branch = '' THEN
            f.supplying_branch IN (FROM astray) OR f.pickup_branch IN (FROM astray)
            OR f.figure IN ('sent', 'items_sent') AND EXISTS (
                SELECT 1 FROM found AS o
                WHERE o.kind = f.kind AND o.figure = CASE f.figure WHEN 'sent' THEN 'delivered' ELSE 'items_received' END
                    AND o.supplying_branch = f.supplying_branch AND o.pickup_branch = f.pickup_branch
            )
        ELSE
            f.figure = 'received' AND EXISTS (
                SELECT 1 FROM found AS o
                WHERE (o.kind = 'no_receipts' OR o.kind = 'shifted' AND f.kind = 'doubled')
                    AND f.branch IN (o.branch, o.other_branch)
            )
    END
)
AND NOT (f.kind = 'doubled' AND f.figure NOT LIKE 'items%' AND EXISTS (
    SELECT 1 FROM found AS o
    WHERE o.kind = 'doubled' AND o.figure LIKE 'items%'
        AND o.supplying_branch = f.supplying_branch AND o.pickup_branch = f.pickup_branch AND o.branch = f.branch
))
AND NOT (f.kind = 'copied' AND f.figure = 'delivered' AND EXISTS (
    SELECT 1 FROM found AS o WHERE o.kind = 'copied' AND o.branch = f.pickup_branch
))
QUALIFY row_number() OVER (
    PARTITION BY f.kind, f.figure, f.supplying_branch, f.pickup_branch, f.branch ORDER BY f.since
) = 1
