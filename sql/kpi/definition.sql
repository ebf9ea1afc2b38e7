-- grain: one row a key figure
-- key: kpi
-- materialize: table
-- The key figures of expectations/kpis.yaml, with those of each organisation and ordered pair written out.
SELECT kpi, position, unit, label_nl, label_en, definition_nl, definition_en
FROM reference.kpi
