-- grain: one row an origin, transport day that was to come, and lane ('' as a branch: all of them together)
-- key: origin, supplying_branch, pickup_branch, date
-- materialize: table
-- The forecast as it is made today (the newest origin), and as it would have been made in each of the eight weeks
-- before, by what was known then: which method a lane gets, and how wide the band is, follow from the eight origins
-- before that one, as far as their days had passed.
--
-- A lane whose profile was not nearer to what came than seasonal naive gets seasonal naive; a lane with fewer than 20
-- days tried gets what serves the network. forecast_items of a lane: the number of which more and less are as likely
-- (the median of a Poisson distribution); of lanes together: the sum of what is expected, rounded.
-- The band holds four days in five: as far from what was expected as four in five of the outcomes lay, among lanes of
-- about the same size, counted in square roots of what was expected (the spread of counts).
WITH tried AS (
    SELECT
        *,
        -- greatest() would take 0 for what is not known
        CASE
            WHEN expected_items IS NOT NULL
                THEN greatest(floor(expected_items + 1 / 3 - 0.02 / nullif(expected_items, 0)), 0)
        END AS profile_items
    FROM marts.forecast_profile
),
origin AS (
    SELECT DISTINCT weeks_back, origin FROM marts.forecast_profile WHERE weeks_back <= 8
),
-- what each origin knew of the eight before it, and what was to come for itself
seen AS (
    SELECT o.weeks_back AS nth, o.origin AS that_origin, t.weeks_back = o.weeks_back AS is_own, t.*
    FROM origin AS o
    JOIN tried AS t
        ON t.weeks_back >= o.weeks_back AND t.weeks_back <= o.weeks_back + 8
        AND (t.weeks_back = o.weeks_back OR t.date < o.origin)
),
judged AS (
    SELECT
        nth, supplying_branch, pickup_branch, grouping(supplying_branch) = 1 AS is_network,
        count(*) AS days,
        sum(abs(profile_items - sent)) < sum(abs(naive_items - sent)) AS is_better
    FROM seen
    WHERE NOT is_own AND naive_items IS NOT NULL
    GROUP BY GROUPING SETS ((nth, supplying_branch, pickup_branch), (nth))
),
chosen AS (
    SELECT
        s.nth, s.that_origin, s.is_own, s.origin, s.date, s.horizon, s.supplying_branch, s.pickup_branch, s.sent,
        CASE
            WHEN s.is_closed THEN 'closed'
            WHEN coalesce(CASE WHEN l.days >= 20 THEN l.is_better END, n.is_better, false) OR s.naive_items IS NULL
                THEN CASE WHEN s.expected_items IS NULL THEN 'unknown' ELSE 'profile' END
            ELSE 'naive'
        END AS method,
        CASE method WHEN 'naive' THEN s.naive_items ELSE s.expected_items END AS expected_items,
        CASE method WHEN 'naive' THEN s.naive_items ELSE s.profile_items END AS forecast_items,
        s.naive_items
    FROM seen AS s
    LEFT JOIN judged AS l
        ON s.nth = l.nth AND s.supplying_branch = l.supplying_branch AND s.pickup_branch = l.pickup_branch
    LEFT JOIN judged AS n ON s.nth = n.nth AND n.is_network
),
together AS (
    SELECT
        nth, any_value(that_origin) AS that_origin, any_value(is_own) AS is_own, origin, date,
        any_value(horizon) AS horizon, coalesce(supplying_branch, '') AS supplying_branch,
        coalesce(pickup_branch, '') AS pickup_branch, round(sum(expected_items), 4) AS expected_items,
        CASE WHEN count(naive_items) = count(*) THEN sum(naive_items) END AS naive_items, sum(sent) AS sent
    FROM chosen
    GROUP BY GROUPING SETS (
        (nth, origin, date, supplying_branch), (nth, origin, date, pickup_branch), (nth, origin, date)
    )
),
judged_together AS (
    SELECT
        nth, supplying_branch, pickup_branch,
        sum(abs(round(expected_items) - sent)) < sum(abs(naive_items - sent)) AS is_better
    FROM together
    WHERE NOT is_own AND naive_items IS NOT NULL
    GROUP BY nth, supplying_branch, pickup_branch
    HAVING count(*) >= 20
),
lanes AS (
    SELECT
        nth, that_origin, is_own, origin, date, horizon, supplying_branch, pickup_branch, method,
        expected_items, forecast_items, naive_items, sent,
        CASE
            WHEN expected_items < 1 THEN 'below 1'
            WHEN expected_items < 4 THEN 'below 4'
            WHEN expected_items < 16 THEN 'below 16'
            ELSE '16 and more'
        END AS size
    FROM chosen
    UNION ALL
    SELECT
        t.nth, t.that_origin, t.is_own, t.origin, t.date, t.horizon, t.supplying_branch, t.pickup_branch,
        CASE WHEN j.is_better OR j.is_better IS NULL OR t.naive_items IS NULL THEN 'sum' ELSE 'naive' END AS method,
        CASE method WHEN 'naive' THEN t.naive_items ELSE t.expected_items END,
        CASE method WHEN 'naive' THEN t.naive_items ELSE round(t.expected_items) END,
        t.naive_items, t.sent,
        CASE WHEN t.supplying_branch <> '' THEN 'out' WHEN t.pickup_branch <> '' THEN 'in' ELSE 'all' END
    FROM together AS t
    LEFT JOIN judged_together AS j USING (nth, supplying_branch, pickup_branch)
),
spread AS (
    SELECT nth, size, quantile_cont(abs(sent - expected_items) / sqrt(expected_items + 0.25), 0.8) AS spread
    FROM lanes
    WHERE NOT is_own AND expected_items IS NOT NULL
    GROUP BY nth, size
)
SELECT
    s.nth AS weeks_back,
    s.origin,
    s.date,
    s.horizon,
    s.supplying_branch,
    s.pickup_branch,
    s.method,
    s.expected_items,
    s.forecast_items::INTEGER AS forecast_items,
    CASE
        WHEN s.method = 'closed' THEN 0
        WHEN s.expected_items IS NOT NULL
            THEN greatest(least(s.forecast_items, ceil(s.expected_items - s.reach)), 0)
    END::INTEGER AS low_items,
    CASE
        WHEN s.method = 'closed' THEN 0
        WHEN s.expected_items IS NOT NULL
            THEN greatest(s.forecast_items, floor(s.expected_items + s.reach))
    END::INTEGER AS high_items,
    s.naive_items::INTEGER AS naive_items,
    s.sent::INTEGER AS sent
FROM (
    SELECT
        l.*,
        -- before there is anything to learn from: as wide as the spread of counts would make it
        coalesce(p.spread, 1.28) * sqrt(l.expected_items + 0.25) AS reach
    FROM lanes AS l
    LEFT JOIN spread AS p ON l.nth = p.nth AND l.size = p.size
    WHERE l.is_own
) AS s
