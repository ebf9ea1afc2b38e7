-- grain: one row a row of an export that is held; those of superseded files are of the past
-- key: file_id, row
-- materialize: table
-- renew: file_id
-- wrong_columns: the columns by which the row breaks its rule; none where it is not in one column. wrong_values: what
-- stands there. An allow-list: statuses, close reasons, codes of the register and those that are numbers as short as
-- these, date-times of this century with their time; everything else is ***.
-- $typed_again stands for what makes date-times and codes of the text in quarantine, as when the row arrived.
WITH arrival AS (
    SELECT
        q.* EXCLUDE (
            status, close_reason, requested_at, shipped_at, received_at, collected_at, closed_at, changed_at
        ),
        f.branch, f.path AS file, f.format, f.export_date, NOT f.is_active AS is_superseded,
        q.status AS status_text, q.close_reason AS close_reason_text, q.requested_at AS requested_at_text,
        q.shipped_at AS shipped_at_text, q.received_at AS received_at_text, q.collected_at AS collected_at_text,
        q.closed_at AS closed_at_text, q.changed_at AS changed_at_text
    FROM bronze.quarantine AS q
    JOIN staging.file AS f ON q.file_id = f.file_id
),
typed AS (
    SELECT *, $typed_again
    FROM arrival
),
held AS (
    SELECT
        file_id, branch, file, row, rule, 'arrival' AS stage, is_superseded, reservation_id, item_barcode,
        supplying_branch AS supplying_code, pickup_branch AS pickup_code, status_text AS status, close_reason_text,
        requested_at_text AS requested_at, shipped_at_text AS shipped_at, received_at_text AS received_at,
        collected_at_text AS collected_at, closed_at_text AS closed_at, changed_at_text AS changed_at,
        CASE rule
            WHEN 'personal_data' THEN [
                CASE WHEN reservation_id = '***' THEN 'reservation_id' END,
                CASE WHEN item_barcode = '***' THEN 'item_barcode' END,
                CASE WHEN material_type = '***' THEN 'material_type' END,
                CASE WHEN supplying_branch = '***' THEN 'supplying_branch' END,
                CASE WHEN pickup_branch = '***' THEN 'pickup_branch' END,
                CASE WHEN status_text = '***' THEN 'status' END,
                CASE WHEN close_reason_text = '***' THEN 'close_reason' END
            ]
            WHEN 'reservation_number' THEN ['reservation_id']
            WHEN 'unknown_status' THEN ['status']
            WHEN 'unknown_close_reason' THEN ['close_reason']
            WHEN 'unreadable_datetime' THEN [
                CASE WHEN requested_at_text <> '' AND requested_at IS NULL THEN 'requested_at' END,
                CASE WHEN shipped_at_text <> '' AND shipped_at IS NULL THEN 'shipped_at' END,
                CASE WHEN received_at_text <> '' AND received_at IS NULL THEN 'received_at' END,
                CASE WHEN collected_at_text <> '' AND collected_at IS NULL THEN 'collected_at' END,
                CASE WHEN closed_at_text <> '' AND closed_at IS NULL THEN 'closed_at' END,
                CASE WHEN changed_at_text <> '' AND changed_at IS NULL THEN 'changed_at' END
            ]
            WHEN 'needed_column_empty' THEN [
                CASE WHEN item_barcode = '' AND is_shipped THEN 'item_barcode' END,
                CASE WHEN supplying_branch = '' AND is_shipped THEN 'supplying_branch' END,
                CASE WHEN pickup_branch = '' THEN 'pickup_branch' END,
                CASE WHEN status_text = '' AND status IS NULL THEN 'status' END,
                CASE WHEN requested_at IS NULL THEN 'requested_at' END,
                CASE WHEN changed_at IS NULL THEN 'changed_at' END
            ]
            WHEN 'receipt_before_2000' THEN ['received_at']
            WHEN 'after_export_date' THEN [
                CASE WHEN requested_at::DATE > export_date + 1 THEN 'requested_at' END,
                CASE WHEN shipped_at::DATE > export_date + 1 THEN 'shipped_at' END,
                CASE WHEN received_at::DATE > export_date + 1 THEN 'received_at' END
            ]
            ELSE []
        END AS wrong
    FROM typed
    UNION ALL
    SELECT
        j.file_id, f.branch, f.path, j.row, j.held_by, 'reference', NOT f.is_active, j.reservation_id, j.item_barcode,
        j.supplying_code, j.pickup_code, j.status, j.close_reason, strftime(j.requested_at, '%Y-%m-%d %H:%M:%S'),
        strftime(j.shipped_at, '%Y-%m-%d %H:%M:%S'), strftime(j.received_at, '%Y-%m-%d %H:%M:%S'), NULL, NULL,
        strftime(j.changed_at, '%Y-%m-%d %H:%M:%S'),
        CASE j.held_by
            WHEN 'unknown_branch' THEN [
                CASE WHEN j.supplying_branch IS NULL AND j.supplying_code <> '' THEN 'supplying_branch' END,
                CASE WHEN j.pickup_branch IS NULL THEN 'pickup_branch' END
            ]
            WHEN 'exporter_not_involved' THEN ['supplying_branch', 'pickup_branch']
            WHEN 'receipt_date_missing' THEN ['received_at']
            WHEN 'branch_not_open' THEN [
                CASE WHEN NOT j.supplying_open THEN 'supplying_branch' END,
                CASE WHEN NOT j.pickup_open THEN 'pickup_branch' END,
                'received_at'
            ]
            ELSE []
        END
    FROM staging.judged_row AS j
    JOIN staging.file AS f ON j.file_id = f.file_id
    WHERE j.held_by IS NOT NULL
),
code AS (
    SELECT list(DISTINCT ils_code) AS known, max(length(ils_code)) AS longest
    FROM reference.branch
),
named AS (
    SELECT h.*, list_filter(h.wrong, lambda name: name IS NOT NULL) AS wrong_columns, c.known, c.longest
    FROM held AS h
    CROSS JOIN code AS c
)
SELECT
    file_id, branch, file, row, rule, stage, is_superseded, reservation_id, item_barcode, supplying_code, pickup_code,
    status, requested_at, shipped_at, received_at, changed_at,
    wrong_columns,
    list_transform(wrong_columns, lambda name: CASE
        WHEN name = 'status' THEN coalesce(status, '')
        WHEN name = 'close_reason' THEN coalesce(close_reason_text, '')
        WHEN name IN ('supplying_branch', 'pickup_branch') THEN list_transform(
            [coalesce(CASE name WHEN 'pickup_branch' THEN pickup_code ELSE supplying_code END, '')],
            lambda value: CASE
                WHEN value = '' OR list_contains(known, value)
                    OR regexp_full_match(value, '[0-9]+') AND length(value) <= longest
                    THEN value
                ELSE '***'
            END
        )[1]
        WHEN name IN ('reservation_id', 'item_barcode', 'material_type')
            THEN CASE CASE name WHEN 'reservation_id' THEN reservation_id WHEN 'item_barcode' THEN item_barcode END
                WHEN '' THEN ''
                ELSE '***'
            END
        ELSE list_transform(
            [coalesce(
                CASE name
                    WHEN 'requested_at' THEN requested_at
                    WHEN 'shipped_at' THEN shipped_at
                    WHEN 'received_at' THEN received_at
                    WHEN 'collected_at' THEN collected_at
                    WHEN 'closed_at' THEN closed_at
                    WHEN 'changed_at' THEN changed_at
                END,
                ''
            )],
            lambda value: CASE
                WHEN value = '' OR regexp_matches(value, '(^|[^0-9])20[0-9]{2}([^0-9]|$)') AND value LIKE '%:%'
                    THEN value
                ELSE '***'
            END
        )[1]
    END) AS wrong_values
FROM named
