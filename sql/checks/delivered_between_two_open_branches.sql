-- on: marts.fct_delivery
-- severity: critical
-- A delivery is between two different branches of the register, both open on the day of the receipt.
SELECT d.reservation_id
FROM {batch} AS d
LEFT JOIN (
    SELECT branch, date FROM marts.agg_branch_day
) AS s ON d.supplying_branch = s.branch AND d.delivered_on = s.date
LEFT JOIN marts.dim_branch AS p ON d.pickup_branch = p.branch
WHERE s.branch IS NULL OR p.branch IS NULL OR d.supplying_branch = d.pickup_branch
