-- grain: one row a code of the library system, and a period in which it means one branch
-- key: ils_code, valid_from
-- materialize: table
-- Codes are text: 0060, 060 and 60 are three. A code that passed from one branch to another means, on an export date,
-- the branch that had opened with it last.
SELECT
    ils_code,
    branch,
    organisation,
    CASE WHEN lag(branch) OVER by_code IS NULL THEN DATE '0001-01-01' ELSE coalesce(opened_on, DATE '0001-01-01') END
        AS valid_from,
    coalesce(lead(coalesce(opened_on, DATE '0001-01-01')) OVER by_code, DATE '9999-12-31') AS valid_before
FROM reference.branch
WINDOW by_code AS (PARTITION BY ils_code ORDER BY coalesce(opened_on, DATE '0001-01-01'), branch)
