-- grain: one row a branch
-- key: branch
-- materialize: table
-- The branch as its last period in the register tells it, and since and until when it was open.
SELECT
    b.branch,
    arg_max(b.name, coalesce(b.opened_on, DATE '0001-01-01')) AS name,
    b.organisation,
    o.name AS organisation_name,
    arg_max(b.municipality, coalesce(b.opened_on, DATE '0001-01-01')) AS municipality,
    arg_max(b.ils_code, coalesce(b.opened_on, DATE '0001-01-01')) AS ils_code,
    arg_max(b.export_format, coalesce(b.opened_on, DATE '0001-01-01')) AS export_format,
    CASE WHEN bool_and(b.opened_on IS NOT NULL) THEN min(b.opened_on) END AS opened_on,
    CASE WHEN bool_and(b.closed_on IS NOT NULL) THEN max(b.closed_on) END AS closed_on,
    arg_max(b.latitude, coalesce(b.opened_on, DATE '0001-01-01')) AS latitude,
    arg_max(b.longitude, coalesce(b.opened_on, DATE '0001-01-01')) AS longitude,
    bool_or(
        run.as_of BETWEEN coalesce(b.opened_on, DATE '0001-01-01') AND coalesce(b.closed_on, DATE '9999-12-31')
    ) AS is_open
FROM reference.branch AS b
JOIN reference.organisation AS o ON b.organisation = o.organisation
CROSS JOIN reference.run AS run
GROUP BY b.branch, b.organisation, o.name
