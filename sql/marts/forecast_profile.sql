-- grain: one row an origin, lane and transport day that was to come: the ten after the origin
-- key: origin, supplying_branch, pickup_branch, date
-- materialize: table
-- What the method would have forecast, knowing nothing of the origin's day and later. The newest origin is the day of
-- the run; the others lie whole weeks before it, and their days have an outcome (sent): only days on which both
-- branches were open, and the supplying branch's export was there, are tried.
--
-- expected_items = level of the lane x level of the network now x weekday x neighbour of a holiday. The lane's level is
-- its mean a day, older weeks weighing less (half after eight weeks); how the network does now against those means
-- follows faster (half after two weeks). Weekday and neighbour are the network's, so that a sparse lane has them too.
-- naive_items: what left on the newest same weekday that was no neighbour of a holiday (seasonal naive).
WITH origin AS (
    SELECT weeks_back::INTEGER AS weeks_back, run.as_of - 7 * weeks_back::INTEGER AS origin
    FROM reference.run AS run
    CROSS JOIN generate_series(0, 16) AS s(weeks_back)
),
-- A holiday stands between a transport day and the one before (or after) it when they lie further apart than that
-- weekday's usually do.
gap AS (
    SELECT
        date, isodow(date) AS iso_weekday,
        date - lag(date) OVER (ORDER BY date) AS before, lead(date) OVER (ORDER BY date) - date AS after
    FROM reference.transport_day
),
day AS (
    SELECT
        date, iso_weekday,
        CASE
            WHEN before > min(before) OVER same THEN 'after a holiday'
            WHEN after > min(after) OVER same THEN 'before a holiday'
            ELSE 'ordinary'
        END AS kind
    FROM gap
    WINDOW same AS (PARTITION BY iso_weekday)
),
told AS (
    SELECT
        a.date, a.supplying_branch, a.pickup_branch, a.sent, d.iso_weekday, d.kind,
        (run.as_of - a.date - 1) // 7 AS week  -- 0: the seven days before the run
    FROM marts.agg_lane_day AS a
    JOIN day AS d ON a.date = d.date
    CROSS JOIN reference.run AS run
    LEFT JOIN marts.feed_day AS f
        ON a.supplying_branch = f.branch AND a.date = f.export_date AND f.state IN ('missing', 'rejected')
    -- two years and eight weeks before the oldest origin
    WHERE a.date < run.as_of AND a.date >= run.as_of - 7 * 128 AND f.branch IS NULL
),
network AS (
    SELECT date, iso_weekday, kind, sum(sent) / count(*) AS sent FROM told GROUP BY date, iso_weekday, kind
),
weekday AS (
    SELECT o.origin, n.iso_weekday, avg(n.sent) / nullif(any_value(every.sent), 0) AS factor
    FROM origin AS o
    JOIN network AS n ON n.date < o.origin AND n.date >= o.origin - 364 AND n.kind = 'ordinary'
    JOIN (
        SELECT o.origin, avg(n.sent) AS sent
        FROM origin AS o
        JOIN network AS n ON n.date < o.origin AND n.date >= o.origin - 364 AND n.kind = 'ordinary'
        GROUP BY o.origin
    ) AS every ON o.origin = every.origin
    GROUP BY o.origin, n.iso_weekday
),
neighbour AS (
    -- drawn to 1 as three ordinary days would: there are few such days in two years
    SELECT origin, kind, (sum(sent) + 3 * avg(usual)) / nullif(sum(usual) + 3 * avg(usual), 0) AS factor
    FROM (
        SELECT
            o.origin, n.kind, n.sent,
            w.factor * avg(n.sent / nullif(w.factor, 0)) FILTER (n.kind = 'ordinary')
                OVER (PARTITION BY o.origin ORDER BY n.date ROWS BETWEEN 20 PRECEDING AND 1 PRECEDING) AS usual
        FROM origin AS o
        JOIN network AS n ON n.date < o.origin AND n.date >= o.origin - 7 * 104
        JOIN weekday AS w ON o.origin = w.origin AND n.iso_weekday = w.iso_weekday
    )
    WHERE kind <> 'ordinary' AND usual IS NOT NULL
    GROUP BY origin, kind
),
lane_week AS (
    SELECT supplying_branch, pickup_branch, week, sum(sent) AS sent, count(*) AS days
    FROM told
    GROUP BY supplying_branch, pickup_branch, week
),
past AS (
    SELECT o.origin, w.supplying_branch, w.pickup_branch, w.sent, w.days, w.week - o.weeks_back AS age
    FROM origin AS o
    JOIN lane_week AS w ON w.week >= o.weeks_back AND w.week < o.weeks_back + 26
),
lane AS (
    SELECT
        origin, supplying_branch, pickup_branch,
        sum(0.5 ** (age / 8) * sent) / sum(0.5 ** (age / 8) * days) AS level,
        sum(0.5 ** (age / 2) * sent) AS sent_now,
        sum(0.5 ** (age / 2) * days) AS days_now,
        min(age) FILTER (sent > 0) AS silent_weeks,
        list({'age': age, 'days': days}) AS weeks
    FROM past
    GROUP BY origin, supplying_branch, pickup_branch
),
now AS (
    SELECT origin, sum(sent_now) / nullif(sum(days_now * level), 0) AS factor FROM lane GROUP BY origin
),
speaking AS (
    -- A lane of which eight items should have come since the last one has stopped, whatever the register says.
    SELECT
        origin, supplying_branch, pickup_branch,
        CASE
            WHEN level * list_sum([w.days FOR w IN weeks IF w.age < silent_weeks]) >= 8 THEN 0
            ELSE level
        END AS level
    FROM lane
),
coming AS (
    SELECT o.weeks_back, o.origin, d.date, d.iso_weekday, d.kind, row_number() OVER (PARTITION BY o.origin ORDER BY d.date) AS horizon
    FROM origin AS o
    JOIN day AS d ON d.date >= o.origin
    QUALIFY horizon <= 10
),
-- how much more, or less, there was a year ago (two years ago) around the day than in the weeks before the origin;
-- drawn to 1 as one more year would
past_year AS (
    SELECT o.origin, y.days, n.date, n.sent / w.factor AS sent
    FROM origin AS o
    CROSS JOIN (VALUES (364), (728)) AS y (days)
    JOIN network AS n ON n.kind = 'ordinary' AND n.date BETWEEN o.origin - y.days - 56 AND o.origin - y.days + 35
    JOIN weekday AS w ON o.origin = w.origin AND n.iso_weekday = w.iso_weekday AND w.factor > 0
),
before_then AS (
    SELECT
        origin, days, origin - days AS that_origin,
        sum(0.5 ** ((that_origin - date - 1) // 7 / 2) * sent) / sum(0.5 ** ((that_origin - date - 1) // 7 / 2)) AS sent
    FROM past_year
    WHERE date < origin - days
    GROUP BY origin, days
    HAVING count(*) >= 20
),
season AS (
    SELECT origin, date, (sum(ratio) + 1) / (count(*) + 1) AS factor
    FROM (
        SELECT c.origin, c.date, p.days, avg(p.sent) / nullif(any_value(b.sent), 0) AS ratio
        FROM coming AS c
        JOIN past_year AS p ON c.origin = p.origin AND p.date + p.days BETWEEN c.date - 4 AND c.date + 4
        JOIN before_then AS b ON c.origin = b.origin AND p.days = b.days
        GROUP BY c.origin, c.date, p.days
    )
    GROUP BY origin, date
),
naive AS (
    SELECT o.origin, t.supplying_branch, t.pickup_branch, t.iso_weekday, arg_max(t.sent, t.date) AS sent
    FROM (
        SELECT o.origin, d.date
        FROM origin AS o
        JOIN day AS d ON d.date < o.origin AND d.date >= o.origin - 28 AND d.kind = 'ordinary'
    ) AS o
    JOIN told AS t ON o.date = t.date
    GROUP BY o.origin, t.supplying_branch, t.pickup_branch, t.iso_weekday
),
open AS (
    SELECT c.origin, c.date, b.branch
    FROM coming AS c
    JOIN reference.branch AS b
        ON c.date BETWEEN coalesce(b.opened_on, DATE '0001-01-01') AND coalesce(b.closed_on, DATE '9999-12-31')
    WHERE c.weeks_back = 0
),
-- the lanes to come: of all branches that are open now or then; those tried: with an outcome (of what is to come nothing
-- was told)
wanted AS (
    SELECT c.*, s.branch AS supplying_branch, p.branch AS pickup_branch, NULL AS sent
    FROM coming AS c
    CROSS JOIN (SELECT DISTINCT branch FROM open) AS s
    JOIN (SELECT DISTINCT branch FROM open) AS p ON s.branch <> p.branch
    WHERE c.weeks_back = 0
    UNION ALL
    SELECT c.*, t.supplying_branch, t.pickup_branch, t.sent
    FROM coming AS c
    JOIN told AS t ON c.date = t.date
)
SELECT
    w.weeks_back,
    w.origin,
    w.date,
    w.horizon::INTEGER AS horizon,
    w.supplying_branch,
    w.pickup_branch,
    w.weeks_back = 0 AND (s.branch IS NULL OR p.branch IS NULL) AS is_closed,
    CASE WHEN is_closed THEN 0 ELSE round(l.level * coalesce(n.factor, 1) * coalesce(d.factor, 1) * coalesce(b.factor, 1) * coalesce(y.factor, 1), 4) END
        AS expected_items,
    CASE WHEN is_closed THEN 0 ELSE v.sent END AS naive_items,
    w.sent
FROM wanted AS w
LEFT JOIN speaking AS l USING (origin, supplying_branch, pickup_branch)
LEFT JOIN now AS n ON w.origin = n.origin
LEFT JOIN weekday AS d ON w.origin = d.origin AND w.iso_weekday = d.iso_weekday
LEFT JOIN neighbour AS b ON w.origin = b.origin AND w.kind = b.kind
LEFT JOIN season AS y ON w.origin = y.origin AND w.date = y.date
LEFT JOIN naive AS v
    ON w.origin = v.origin AND w.supplying_branch = v.supplying_branch AND w.pickup_branch = v.pickup_branch
    AND w.iso_weekday = v.iso_weekday
LEFT JOIN open AS s ON w.weeks_back = 0 AND w.date = s.date AND w.supplying_branch = s.branch
LEFT JOIN open AS p ON w.weeks_back = 0 AND w.date = p.date AND w.pickup_branch = p.branch
