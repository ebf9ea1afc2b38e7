-- grain: one row a lane (ordered pair of branches) and day on which both branches were open
-- key: supplying_branch, pickup_branch, date
-- materialize: table
-- renew: date
-- All lanes, zeros shown. sent: legs that left that day; delivered: legs received that day.
WITH delivered AS (
    SELECT supplying_branch, pickup_branch, delivered_on AS date, count(*) AS delivered
    FROM marts.fct_delivery
    GROUP BY ALL
),
sent AS (
    SELECT supplying_branch, pickup_branch, shipped_at::DATE AS date, count(*) AS sent
    FROM marts.fct_leg
    WHERE shipped_at IS NOT NULL AND state NOT IN ('local') AND supplying_branch <> ''
    GROUP BY ALL
),
counted AS (
    SELECT
        supplying_branch,
        pickup_branch,
        date,
        s.sent,
        d.delivered
    FROM delivered AS d
    FULL JOIN sent AS s USING (supplying_branch, pickup_branch, date)
),
lane AS (
    SELECT s.branch AS supplying_branch, p.branch AS pickup_branch, s.date
    FROM staging.branch_day AS s
    JOIN staging.branch_day AS p ON s.date = p.date AND s.branch <> p.branch
)
SELECT
    date,
    supplying_branch,
    pickup_branch,
    so.organisation AS supplying_organisation,
    po.organisation AS pickup_organisation,
    coalesce(c.sent, 0)::INTEGER AS sent,
    coalesce(c.delivered, 0)::INTEGER AS delivered
FROM lane AS l
FULL JOIN counted AS c USING (supplying_branch, pickup_branch, date)
JOIN staging.branch_organisation AS so ON supplying_branch = so.branch
JOIN staging.branch_organisation AS po ON pickup_branch = po.branch
