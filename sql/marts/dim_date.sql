-- grain: one row a day, from the year of the oldest date-time in the exports to the year of the run
-- key: date
-- materialize: table
SELECT
    date,
    year(date)::INTEGER AS year,
    month(date)::INTEGER AS month,
    isoyear(date)::INTEGER AS iso_year,
    weekofyear(date)::INTEGER AS iso_week,
    isodow(date)::INTEGER AS iso_weekday,
    holiday,
    is_transport_day,
    is_export_day,
    -- counts the transport days up to and with this day: the difference of two days is the transport days between
    (sum(is_transport_day::INTEGER) OVER (ORDER BY date))::INTEGER AS transport_day_number
FROM reference.day
