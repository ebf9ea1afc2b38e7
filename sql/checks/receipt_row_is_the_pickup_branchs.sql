-- on: marts.fct_delivery
-- severity: critical
-- nl: Een levering die niet op een rij van de afhaalvestiging berust.
-- en: A delivery that does not rest on a row of the pick-up branch.
-- The row that a delivery is counted by comes from an export of the pick-up branch, or of the whole network.
WITH d AS (SELECT * FROM {batch})
SELECT d.reservation_id
FROM d
LEFT JOIN quality.file AS f ON d.pickup_file_id = f.file_id
WHERE f.file_id IS NULL OR f.branch NOT IN (d.pickup_branch, 'network')
    OR f.state NOT IN ('accepted', 'partly_accepted')
