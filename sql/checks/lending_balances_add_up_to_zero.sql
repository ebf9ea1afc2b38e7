-- on: kpi.value
-- severity: critical
SELECT year, month
FROM {batch}
WHERE kpi = 'lender_balance'
GROUP BY year, month
HAVING sum(value) <> 0
