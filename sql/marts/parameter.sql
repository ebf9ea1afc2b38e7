-- grain: one row: the norms by which this warehouse was built
-- key: transit_norm_transport_days
-- materialize: table
-- data/reference/parameters.yaml as it was then: `pendel trace` shows by them which legs a share counts.
SELECT
    transit_norm_transport_days, overdue_after_transport_days, unsent_after_transport_days, export_late_after_days,
    items_per_crate
FROM reference.parameter
