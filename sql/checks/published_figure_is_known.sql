-- on: kpi.published
-- severity: warning
-- A published figure is one of the key figures: a misspelt id would never be compared.
SELECT year, kpi
FROM {batch}
WHERE kpi NOT IN (SELECT kpi FROM kpi.definition)
