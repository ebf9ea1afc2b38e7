-- on: kpi.value
-- severity: critical
-- nl: De leensaldi tellen niet op tot nul.
-- en: The lending balances do not add up to zero.
SELECT year, month
FROM {batch}
WHERE kpi = 'lender_balance'
GROUP BY year, month
HAVING sum(value) <> 0
