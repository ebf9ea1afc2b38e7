-- on: kpi.value
-- severity: critical
-- nl: Delen tellen niet op tot hun totaal.
-- en: Parts do not add up to their total.
-- The deliveries of all organisation pairs, of all branches and of all lanes each add up to the total, in every period,
-- and none of them is absent; the months add up to their year.
WITH part AS (
    SELECT year, month, dimension, sum(value) AS value
    FROM {batch}
    WHERE kpi = 'deliveries_total'
    GROUP BY ALL
),
total AS (
    SELECT t.year, t.month, t.value, d.dimension
    FROM part AS t
    CROSS JOIN (VALUES ('organisation'), ('branch'), ('lane')) AS d (dimension)
    WHERE t.dimension = 'total'
)
SELECT t.year, t.month, t.dimension
FROM total AS t
LEFT JOIN part AS p ON t.year = p.year AND t.month = p.month AND t.dimension = p.dimension
WHERE p.value IS DISTINCT FROM t.value
UNION ALL
SELECT year, 0, 'months'
FROM part
WHERE dimension = 'total'
GROUP BY year
HAVING sum(value) FILTER (month > 0) IS DISTINCT FROM sum(value) FILTER (month = 0)
