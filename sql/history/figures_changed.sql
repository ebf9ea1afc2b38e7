-- The figures that differ between two runs: $before and $after are their figures.parquet.
SELECT
    kpi,
    year,
    month,
    dimension,
    supplying_organisation,
    pickup_organisation,
    branch,
    b.value AS before,
    a.value AS after,
    a.value - b.value AS difference
FROM read_parquet($before) AS b
FULL JOIN read_parquet($after) AS a
    USING (
        kpi, year, month, dimension, supplying_organisation, pickup_organisation, supplying_branch, pickup_branch,
        branch
    )
WHERE round(a.value, 9) IS DISTINCT FROM round(b.value, 9)
ORDER BY year DESC, month, dimension = 'total' DESC, dimension, kpi, supplying_organisation, pickup_organisation, branch
