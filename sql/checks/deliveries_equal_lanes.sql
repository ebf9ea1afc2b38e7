-- on: marts.agg_lane_day
-- severity: critical
-- nl: De transportlijnen per dag tellen niet op tot de leveringen.
-- en: The lanes by day do not add up to the deliveries.
-- The lanes by day add up to the deliveries, day by day: nothing counted twice, nothing left out.
SELECT date
FROM (SELECT delivered_on AS date, count(*) AS delivered FROM marts.fct_delivery GROUP BY ALL) AS d
FULL JOIN (SELECT date, sum(delivered) AS delivered FROM {batch} GROUP BY ALL) AS l USING (date)
WHERE coalesce(d.delivered, 0) <> coalesce(l.delivered, 0)
