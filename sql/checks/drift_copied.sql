-- on: marts.drift
-- severity: warning
-- nl: Verzonden is dag na dag gelijk aan ontvangen: kijk of de ene kolom een kopie van de andere is.
-- en: Sent equals received day after day: look whether one column is a copy of the other.
SELECT kind, figure, supplying_branch, pickup_branch, branch
FROM {batch}
WHERE kind = 'copied'
