-- on: kpi.value
-- severity: critical
-- nl: Tussen organisaties is niet de som van de richtingen.
-- en: Between organisations is not the sum of its directions.
SELECT year, month
FROM {batch}
GROUP BY year, month
HAVING coalesce(sum(value) FILTER (kpi = 'deliveries_between_organisations' AND dimension = 'total'), -1)
    <> coalesce(sum(value) FILTER (
        kpi = 'deliveries_total' AND dimension = 'organisation' AND supplying_organisation <> pickup_organisation
    ), 0)
