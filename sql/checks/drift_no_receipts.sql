-- on: marts.drift
-- severity: warning
-- nl: Een vestiging levert aan en meldt dagenlang geen ontvangst: vraag of de ontvangsten in de aanlevering staan.
-- en: A branch delivers exports and tells no receipt for days: ask whether its exports hold the receipts.
SELECT kind, figure, supplying_branch, pickup_branch, branch
FROM {batch}
WHERE kind = 'no_receipts'
