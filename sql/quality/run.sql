-- grain: one row a run that stored anything, and the run that built this warehouse
-- key: run_id
-- materialize: table
SELECT r.run_id, r.started_at AS started_at_utc, r.as_of, r.run_id = this.run_id AS is_this_run
FROM bronze.run AS r
CROSS JOIN reference.run AS this
