-- grain: one row a delivered reservation: a leg between two branches whose receipt the pick-up branch registered
-- key: pickup_organisation, reservation_id, supplying_branch
-- materialize: view
-- renew: reservation_id
-- delivered_on is the local date of the receipt: it decides on year, month and day.
SELECT
    received_at::DATE AS delivered_on,
    year(received_at)::INTEGER AS year,
    month(received_at)::INTEGER AS month,
    pickup_organisation,
    reservation_id,
    supplying_branch,
    pickup_branch,
    supplying_organisation,
    supplying_organisation <> pickup_organisation AS is_between_organisations,
    shipped_at,
    received_at,
    transit_calendar_days,
    transit_transport_days,
    fill_days,
    is_unannounced,
    is_not_collected,
    pickup_file_id,
    pickup_row
FROM marts.fct_leg
WHERE state = 'delivered'
