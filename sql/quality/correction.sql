-- grain: one row a declared correction
-- key: correction
-- materialize: table
SELECT c.correction, c.action, c.reason, c.expected_rows, count(r.row)::INTEGER AS corrected_rows
FROM reference.correction AS c
LEFT JOIN quality.corrected_row AS r ON c.correction = r.correction
GROUP BY ALL
