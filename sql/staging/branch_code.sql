-- grain: one row a code of the library system, a way of writing it, and a period in which it means one branch
-- key: ils_code, is_without_zeros, valid_from
-- materialize: table
-- A code that passed from one branch to another means the branch that had it last opened on the export date.
WITH owner AS (
    SELECT ils_code, branch, organisation, min(coalesce(opened_on, DATE '0001-01-01')) AS opened_on
    FROM reference.branch
    GROUP BY ALL
),
period AS (
    SELECT
        ils_code,
        branch,
        organisation,
        CASE WHEN lag(branch) OVER by_code IS NULL THEN DATE '0001-01-01' ELSE opened_on END AS valid_from,
        coalesce(lead(opened_on) OVER by_code, DATE '9999-12-31') AS valid_before
    FROM owner
    WINDOW by_code AS (PARTITION BY ils_code ORDER BY opened_on, branch)
),
-- a code typed in a number cell has lost its leading zeros: read so only where one code alone can be meant
shortened AS (
    SELECT ltrim(ils_code, '0') AS ils_code, min(ils_code) AS full_code
    FROM reference.branch
    GROUP BY ltrim(ils_code, '0')
    HAVING count(DISTINCT ils_code) = 1 AND ltrim(min(ils_code), '0') <> min(ils_code)
)
SELECT ils_code, false AS is_without_zeros, branch, organisation, valid_from, valid_before
FROM period
UNION ALL
SELECT s.ils_code, true, p.branch, p.organisation, p.valid_from, p.valid_before
FROM shortened AS s
JOIN period AS p ON s.full_code = p.ils_code
