-- on: marts.drift
-- severity: warning
-- nl: Een kolom is bij een vestiging veel vaker leeg dan gewoonlijk: kijk of de aanlevering die kolom nog vult.
-- en: A column of a branch is empty far more often than usual: look whether its exports still fill it.
SELECT kind, figure, supplying_branch, pickup_branch, branch
FROM {batch}
WHERE kind = 'empty'
