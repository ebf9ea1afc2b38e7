-- grain: one row a row that bronze accepted
-- key: file_id, row
-- materialize: view
-- Rows as the declared corrections of expectations/corrections.yaml make them. correction is the number of the first
-- that matches a row ($which_correction: the WHEN parts of a CASE), $overrides what it puts in the place of values, and
-- $dropped the numbers of those that drop their rows.
WITH numbered AS (
    SELECT r.*, CASE $which_correction END AS correction
    FROM bronze.row AS r
    JOIN bronze.file AS f ON r.file_id = f.file_id
)
SELECT * REPLACE ($overrides), coalesce(correction IN ($dropped), false) AS is_dropped
FROM numbered
