-- on: kpi.value
-- severity: critical
SELECT year, month
FROM {batch}
WHERE dimension = 'total' OR dimension = 'organisation'
GROUP BY year, month
HAVING coalesce(sum(value) FILTER (kpi = 'deliveries_between_organisations' AND dimension = 'total'), -1)
    <> coalesce(sum(value) FILTER (
        kpi = 'deliveries_total' AND dimension = 'organisation' AND supplying_organisation <> pickup_organisation
    ), 0)
