-- grain: one row a year that was closed
-- key: year
-- materialize: table
-- When, by whom and upon which run its figures were frozen, and what has come since that can explain another figure:
-- files that tell of the year, and rules, SQL, reference data or libraries that changed.
SELECT
    c.year,
    c.closed_at_utc,
    c.closed_by,
    c.run_id,
    (SELECT count(*) FROM marts.closed_year_file AS f WHERE f.year = c.year)::INTEGER AS late_files,
    coalesce(
        (SELECT list(i.name ORDER BY i.name) FROM reference.changed_ingredient AS i WHERE i.year = c.year),
        []
    ) AS changed_rules
FROM reference.closed_year AS c
