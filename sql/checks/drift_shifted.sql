-- on: marts.drift
-- severity: warning
-- nl: De ontvangsten van een vestiging springen omhoog terwijl die van een andere evenveel zakken: kijk of rijen of vestigingscodes verwisseld zijn.
-- en: The receipts of one branch jump while those of another drop by as much: look whether rows or branch codes were mixed up.
SELECT kind, figure, supplying_branch, pickup_branch, branch
FROM {batch}
WHERE kind = 'shifted'
