-- on: kpi.restatement
-- severity: critical
-- nl: Een cijfer van een afgesloten jaar is veranderd zonder dat er een bestand of regel veranderde.
-- en: A figure of a closed year changed although no file and no rule did.
SELECT year, kpi
FROM {batch}
WHERE late_files = 0 AND len(changed_rules) = 0
