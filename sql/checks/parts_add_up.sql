-- on: kpi.value
-- severity: critical
-- The deliveries of all organisation pairs, of all branches and of all lanes each add up to the total, in every period;
-- the months add up to their year.
WITH total AS (
    SELECT year, month, dimension, sum(value) AS value
    FROM {batch}
    WHERE kpi = 'deliveries_total'
    GROUP BY ALL
)
SELECT p.year, p.month, p.dimension
FROM total AS p
JOIN total AS t ON p.year = t.year AND p.month = t.month AND t.dimension = 'total'
WHERE p.value <> t.value
UNION ALL
SELECT year, 0, 'months'
FROM total
WHERE dimension = 'total'
GROUP BY year
HAVING sum(value) FILTER (month > 0) <> sum(value) FILTER (month = 0)
