-- grain: one row a closed year and a file that arrived after its closing and tells of it
-- key: year, file_id
-- materialize: table
-- renew: file_id
-- It tells of a year when its export is dated in it, when a row of it was requested, sent or received in it, or when it
-- replaced a file that was there at the closing and is dated in that year or later.
WITH late AS (
    SELECT c.year, c.last_file_id, f.*
    FROM reference.closed_year AS c
    JOIN staging.file AS f ON f.file_id > c.last_file_id AND f.verdict = 'read'
),
touching AS (
    SELECT DISTINCT l.year, l.file_id
    FROM late AS l
    JOIN staging.row AS r ON l.file_id = r.file_id
    WHERE l.year IN (year(r.requested_at), year(r.shipped_at), year(r.received_at))
),
replacing AS (
    SELECT DISTINCT l.year, l.file_id
    FROM late AS l
    JOIN staging.file AS f
        ON l.branch = f.branch AND l.format = f.format AND l.export_date = f.export_date
        AND f.file_id <= l.last_file_id AND f.verdict = 'read'
    WHERE l.year <= year(l.export_date)
)
SELECT l.year, l.file_id, l.branch, l.path AS file, l.export_date
FROM late AS l
LEFT JOIN touching AS t ON l.year = t.year AND l.file_id = t.file_id
LEFT JOIN replacing AS r ON l.year = r.year AND l.file_id = r.file_id
WHERE t.file_id IS NOT NULL OR r.file_id IS NOT NULL OR l.year = year(l.export_date)
