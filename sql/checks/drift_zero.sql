-- on: marts.drift
-- severity: warning
-- nl: Een cijfer dat altijd vervoer telde is ineens nul: vraag de vestiging of er iets veranderd is in het systeem of het vervoer.
-- en: A figure that always counted traffic is suddenly zero: ask the branch what changed in its system or its transport.
SELECT kind, figure, supplying_branch, pickup_branch, branch
FROM {batch}
WHERE kind = 'zero'
