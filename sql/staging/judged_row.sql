-- grain: one row a row that bronze accepted
-- key: file_id, row
-- materialize: view
-- held_by is the first row rule of the stage `reference` that the row breaks; empty for a row that counts.
-- $reference_rules stands for the predicates of expectations/rules.yaml, as the WHEN parts of a CASE.
SELECT *, CASE $reference_rules END AS held_by
FROM staging.row
