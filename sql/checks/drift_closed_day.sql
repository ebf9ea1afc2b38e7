-- on: marts.drift
-- severity: warning
-- nl: Een vestiging levert aan op dagen waarop zij dicht is, of registreert veel ontvangsten op zondagen of feestdagen: kijk in het register en naar de klok van het systeem.
-- en: A branch delivers exports on days on which it is closed, or registers many receipts on Sundays or public holidays: look at the register, and at the system's clock.
SELECT kind, figure, supplying_branch, pickup_branch, branch
FROM {batch}
WHERE kind = 'closed_day'
