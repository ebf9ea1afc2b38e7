-- on: kpi.published
-- severity: warning
-- nl: In published_figures.csv staat een kerncijfer dat niet bestaat.
-- en: published_figures.csv names a key figure that does not exist.
-- A published figure is one of the key figures: a misspelt id would never be compared.
SELECT year, kpi
FROM {batch}
WHERE kpi NOT IN (SELECT kpi FROM kpi.definition)
