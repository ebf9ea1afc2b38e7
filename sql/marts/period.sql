-- grain: one row a year, and a month of it, for which there are exports
-- key: year, month
-- materialize: table
-- month is 0 for the whole year. is_current: the day before the run lies in it; if that is of a year
-- without exports, the last day before it that is not: what is under way now is shown there, and not nowhere.
WITH day AS (
    SELECT d.date, d.year, d.month, coalesce(d.date = max(CASE WHEN d.date < run.as_of THEN d.date END) OVER (), false) AS is_current
    FROM marts.dim_date AS d
    CROSS JOIN reference.run AS run
    WHERE d.year IN (SELECT year(export_date) FROM staging.file WHERE is_active)
        OR d.year IN (SELECT year FROM marts.fct_delivery)
)
SELECT
    year, coalesce(month, 0) AS month, min(date) AS first_date, max(date) AS last_date, bool_or(is_current) AS is_current
FROM day
GROUP BY GROUPING SETS ((year), (year, month))
