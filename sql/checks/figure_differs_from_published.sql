-- on: kpi.published
-- severity: warning
-- nl: Een berekend cijfer verschilt van het gepubliceerde (zie `pendel kpi`).
-- en: A computed figure differs from the published one (see `pendel kpi`).
-- Where there are exports of the year, the figure computed from them is the one that was published.
SELECT year, kpi
FROM {batch}
WHERE difference IS NOT NULL AND difference <> 0
