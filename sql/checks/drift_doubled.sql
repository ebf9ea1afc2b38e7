-- on: marts.drift
-- severity: warning
-- nl: Aantallen zijn dagenlang ongeveer het dubbele van gewoonlijk: kijk of er iets twee keer geëxporteerd wordt.
-- en: Counts are about twice the usual for days: look whether something is exported twice.
SELECT kind, figure, supplying_branch, pickup_branch, branch
FROM {batch}
WHERE kind = 'doubled'
