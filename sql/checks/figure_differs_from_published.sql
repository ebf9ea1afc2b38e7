-- on: kpi.published
-- severity: warning
-- Where there are exports of the year, the figure computed from them is the one that was published.
SELECT year, kpi
FROM {batch}
WHERE difference IS NOT NULL AND difference <> 0
