-- grain: one row a thing that key figures are computed for: the network, a pair of organisations, a branch, a lane
-- key: dimension, supplying_organisation, pickup_organisation, supplying_branch, pickup_branch, branch
-- materialize: table
-- The spine of the key figures: what is in it is shown, with a zero where nothing happened.
SELECT
    'total' AS dimension, '' AS supplying_organisation, '' AS pickup_organisation,
    '' AS supplying_branch, '' AS pickup_branch, '' AS branch
UNION ALL
SELECT 'organisation', s.organisation, p.organisation, '', '', ''
FROM reference.organisation AS s
CROSS JOIN reference.organisation AS p
UNION ALL
SELECT 'branch', '', '', '', '', branch
FROM staging.branch_organisation
UNION ALL
SELECT 'lane', s.organisation, p.organisation, s.branch, p.branch, ''
FROM staging.branch_organisation AS s
JOIN staging.branch_organisation AS p ON s.branch <> p.branch
