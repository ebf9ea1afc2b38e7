-- grain: one row a figure of a closed year that is computed differently now
-- key: kpi, year, month, dimension, supplying_organisation, pickup_organisation, supplying_branch, pickup_branch, branch
-- materialize: table
-- frozen is what was published when the year was closed, and stays so; computed is what the exports say now. What is
-- under way belongs to no closed year. A branch or lane that is new in the register, with nothing to tell, is no change.
SELECT
    kpi,
    year,
    month,
    dimension,
    supplying_organisation,
    pickup_organisation,
    supplying_branch,
    pickup_branch,
    branch,
    f.value AS frozen,
    v.value AS computed,
    v.value - f.value AS difference,
    c.late_files,
    c.changed_rules
FROM (
    SELECT v.*
    FROM kpi.value AS v
    WHERE v.year IN (SELECT year FROM reference.closed_year) AND v.kpi NOT IN ('in_transit', 'overdue')
) AS v
FULL JOIN reference.frozen_figure AS f
    USING (
        kpi, year, month, dimension, supplying_organisation, pickup_organisation, supplying_branch, pickup_branch,
        branch
    )
JOIN kpi.closed_year AS c USING (year)
WHERE round(v.value, 9) IS DISTINCT FROM round(f.value, 9) AND NOT (f.kpi IS NULL AND coalesce(v.value, 0) = 0)
