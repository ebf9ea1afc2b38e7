-- on: marts.fct_delivery
-- severity: critical
-- nl: Een levering tussen vestigingen die niet allebei open waren.
-- en: A delivery between branches that were not both open.
-- A delivery is between two different branches, both open on the day of the receipt.
WITH d AS (SELECT * FROM {batch})
SELECT d.reservation_id
FROM d
WHERE d.supplying_branch = d.pickup_branch
    OR NOT EXISTS (
        SELECT 1 FROM reference.branch AS s
        WHERE s.branch = d.supplying_branch AND d.delivered_on >= coalesce(s.opened_on, d.delivered_on)
            AND d.delivered_on <= coalesce(s.closed_on, d.delivered_on)
    )
    OR NOT EXISTS (
        SELECT 1 FROM reference.branch AS p
        WHERE p.branch = d.pickup_branch AND d.delivered_on >= coalesce(p.opened_on, d.delivered_on)
            AND d.delivered_on <= coalesce(p.closed_on, d.delivered_on)
    )
