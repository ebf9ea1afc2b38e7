-- grain: one row a branch and day on which it was expected to deliver an export
-- key: branch, export_date
-- materialize: table
-- A branch that is open is expected to deliver on every export day (assumption: Monday to Saturday, less public
-- holidays). state: received, late (arrived more days after its date than a parameter allows), rejected (only files
-- that could not be used came), missing, not_begun (missing, before the network's first export: nobody is asked for it,
-- yet the year is no more complete). A file of the whole network counts for every branch whose format is the network's.
WITH expected AS (
    SELECT
        b.branch, b.organisation, b.date AS export_date,
        CASE WHEN e.perspective = 'network' THEN 'network' ELSE b.branch END AS folder
    FROM staging.branch_day AS b
    JOIN reference.day AS d ON b.date = d.date AND d.is_export_day
    LEFT JOIN reference.export_format AS e ON b.export_format = e.format
),
arrived AS (
    SELECT
        branch AS folder,
        export_date,
        max(file_id) FILTER (verdict = 'read') AS file_id,
        min(arrived_at) FILTER (verdict = 'read') AS arrived_at
    FROM staging.file
    WHERE export_date IS NOT NULL AND verdict <> 'withdrawn'
    GROUP BY branch, export_date
)
SELECT
    x.branch,
    x.organisation,
    x.export_date,
    CASE
        WHEN a.folder IS NULL AND x.export_date < first.export_date THEN 'not_begun'
        WHEN a.folder IS NULL THEN 'missing'
        WHEN a.file_id IS NULL THEN 'rejected'
        WHEN a.arrived_at::DATE > x.export_date + p.export_late_after_days THEN 'late'
        ELSE 'received'
    END AS state,
    a.file_id,
    a.arrived_at
FROM expected AS x
CROSS JOIN reference.parameter AS p
CROSS JOIN (SELECT min(export_date) AS export_date FROM staging.file WHERE verdict = 'read') AS first
LEFT JOIN arrived AS a ON x.folder = a.folder AND x.export_date = a.export_date
