-- grain: one row a code of the library system, and a period in which it means one branch
-- key: ils_code, valid_from
-- materialize: table
-- Codes are text: 0060, 060 and 60 are three. A code that passed from one branch to another means, on an export date,
-- the branch that had opened with it last.
WITH owner AS (
    SELECT ils_code, branch, organisation, min(coalesce(opened_on, DATE '0001-01-01')) AS opened_on
    FROM reference.branch
    GROUP BY ALL
)
SELECT
    ils_code,
    branch,
    organisation,
    CASE WHEN lag(branch) OVER by_code IS NULL THEN DATE '0001-01-01' ELSE opened_on END AS valid_from,
    coalesce(lead(opened_on) OVER by_code, DATE '9999-12-31') AS valid_before
FROM owner
WINDOW by_code AS (PARTITION BY ils_code ORDER BY opened_on, branch)
