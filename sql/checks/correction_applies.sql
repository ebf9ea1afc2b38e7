-- on: quality.correction
-- severity: critical
-- nl: Een correctie past niet meer op het verwachte aantal rijen: kijk in expectations/corrections.yaml.
-- en: A correction no longer matches as many rows as it expects: look at expectations/corrections.yaml.
SELECT correction
FROM {batch}
WHERE expected_rows <> corrected_rows
