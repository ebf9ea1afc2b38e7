-- grain: one row a published figure
-- key: year, kpi
-- materialize: table
-- What was published elsewhere beside what the exports say. computed is empty where there are no exports of that year.
SELECT
    p.year,
    p.kpi,
    p.value AS published,
    v.value AS computed,
    v.value - p.value AS difference,
    v.completeness,
    p.source
FROM reference.published_figure AS p
LEFT JOIN kpi.value AS v ON p.year = v.year AND p.kpi = v.kpi AND v.month = 0 AND v.dimension = 'total'
