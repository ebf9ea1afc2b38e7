-- on: quality.file
-- severity: critical
-- nl: Meer dan de helft van de rijen past niet bij het register: kijk in branches.csv (codes, data).
-- en: More than half of the rows do not fit the register: look at branches.csv (codes, dates).
-- The register holds no more than half of the rows: a slip in it must not publish an empty network over good figures.
SELECT 'held by the register'
FROM (
    SELECT count(*) AS rows_held FROM quality.quarantined_row WHERE stage = 'reference' AND NOT is_superseded
) AS held
CROSS JOIN (
    SELECT sum(rows_accepted) AS rows_accepted FROM {batch} WHERE state IN ('accepted', 'partly_accepted')
) AS counted
WHERE rows_held > 100 AND rows_held > rows_accepted
