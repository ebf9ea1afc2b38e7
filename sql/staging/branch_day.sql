-- grain: one row a branch and day on which it was open
-- key: branch, date
-- materialize: table
-- From the first year in which an export is dated, up to the day before the run.
SELECT b.branch, any_value(b.organisation) AS organisation, d.date,
    -- where periods overlap: what was used later
    arg_max(b.export_format, coalesce(b.opened_on, DATE '0001-01-01')) AS export_format
FROM reference.branch AS b
CROSS JOIN reference.run AS run
JOIN reference.day AS d
    ON d.date >= coalesce(b.opened_on, DATE '0001-01-01') AND d.date <= coalesce(b.closed_on, DATE '9999-12-31')
    AND d.date >= (SELECT make_date(year(min(export_date))::INTEGER, 1, 1) FROM bronze.file WHERE verdict = 'read')
    AND d.date < run.as_of
GROUP BY b.branch, d.date
