-- grain: one row a lane (ordered pair of branches) that was open on the last transport day before the run
-- key: supplying_branch, pickup_branch
-- materialize: table
-- What was delivered on that day, beside what is usual for that weekday: the median, the least and the most of the last
-- eight such days that were transport days and of which the pick-up branch delivered its export. is_told: it delivered
-- that of the day itself; without it nothing can be said. is_unusual: told, outside what these days showed, and three
-- standard deviations from their median; by accident a count strays as a Poisson number does, whose square root has a
-- standard deviation of a half. With less than four such days there is no usual.
WITH last_day AS (
    SELECT max(d.date) AS date
    FROM marts.dim_date AS d
    CROSS JOIN reference.run AS run
    WHERE d.is_transport_day AND d.date < run.as_of
),
told AS (
    SELECT f.branch, f.export_date AS date
    FROM marts.feed_day AS f
    WHERE f.state IN ('received', 'late') AND f.export_date >= (SELECT date - 112 FROM last_day)
),
before AS (
    SELECT l.supplying_branch, l.pickup_branch, l.delivered
    FROM marts.agg_lane_day AS l
    CROSS JOIN last_day AS y
    JOIN marts.dim_date AS d ON l.date = d.date AND d.is_transport_day AND d.iso_weekday = isodow(y.date)
    JOIN told AS t ON l.pickup_branch = t.branch AND l.date = t.date
    WHERE l.date < y.date AND l.date >= y.date - 112
    QUALIFY row_number() OVER (PARTITION BY l.supplying_branch, l.pickup_branch ORDER BY l.date DESC) <= 8
),
usual AS (
    SELECT
        supplying_branch, pickup_branch,
        median(delivered) AS usually_delivered, min(delivered) AS least_delivered, max(delivered) AS most_delivered
    FROM before
    GROUP BY supplying_branch, pickup_branch
    HAVING count(*) >= 4
)
SELECT
    l.supplying_branch,
    l.pickup_branch,
    l.date,
    l.delivered,
    t.branch IS NOT NULL AS is_told,
    u.usually_delivered,
    u.least_delivered,
    u.most_delivered,
    coalesce(
        t.branch IS NOT NULL
        AND NOT l.delivered BETWEEN u.least_delivered AND u.most_delivered
        AND abs(sqrt(l.delivered) - sqrt(u.usually_delivered)) >= 1.5,
        false
    ) AS is_unusual
FROM marts.agg_lane_day AS l
JOIN last_day AS y ON l.date = y.date
LEFT JOIN told AS t ON l.pickup_branch = t.branch AND l.date = t.date
LEFT JOIN usual AS u ON l.supplying_branch = u.supplying_branch AND l.pickup_branch = u.pickup_branch
