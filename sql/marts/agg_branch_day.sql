-- grain: one row a branch and day
-- key: branch, date
-- materialize: table
-- renew: date
-- received: delivered at this branch; supplied: delivered elsewhere out of this branch; balance: supplied less received.
WITH moved AS (
    SELECT pickup_branch AS branch, date, delivered AS received, 0 AS supplied, 0 AS sent
    FROM marts.agg_lane_day
    UNION ALL
    SELECT supplying_branch, date, 0, delivered, sent
    FROM marts.agg_lane_day
)
SELECT
    m.date,
    m.branch,
    o.organisation,
    sum(m.received)::INTEGER AS received,
    sum(m.supplied)::INTEGER AS supplied,
    sum(m.sent)::INTEGER AS sent,
    (sum(m.supplied) - sum(m.received))::INTEGER AS lender_balance
FROM moved AS m
JOIN staging.branch_organisation AS o ON m.branch = o.branch
GROUP BY m.date, m.branch, o.organisation
