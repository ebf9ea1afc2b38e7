-- on: marts.fct_delivery
-- severity: critical
-- nl: Een rij die als twee leveringen telt.
-- en: A row that counts as two deliveries.
-- No row of an export is counted as two deliveries.
SELECT pickup_file_id, pickup_row
FROM {batch}
GROUP BY pickup_file_id, pickup_row
HAVING count(*) > 1
