-- on: kpi.restatement
-- severity: warning
-- nl: Cijfers van een afgesloten jaar worden nu anders berekend (zie `pendel status`).
-- en: Figures of a closed year are computed differently now (see `pendel status`).
SELECT year, kpi
FROM {batch}
WHERE late_files > 0 OR len(changed_rules) > 0
