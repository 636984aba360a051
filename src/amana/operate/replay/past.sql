-- The live rows as they stood just before an instant ($1), where the ledger keeps enough to say it.

-- name: accounts
-- Accounts by their newest transfer before then: counters only, as what bounds and status were is nowhere else.
SELECT a.tenant, a.id, e.version, e.debits_pending, e.debits_posted, e.credits_pending, e.credits_posted,
       NULL::bigint AS position
FROM transactions.accounts a
JOIN (
    SELECT DISTINCT ON (tenant, account) *
    FROM transactions.entries
    WHERE posted_at < $1::timestamptz
    ORDER BY tenant, account, version DESC
) e ON e.tenant = a.tenant AND e.account = a.id;

-- name: transfers
-- Transfers before then.
SELECT tenant, id, shard, kind, debit_account, credit_account, amount, currency::text, code, effective_on, posted_at,
       original, released, command, debit_version, debit_previous, debit_debits_pending, debit_debits_posted,
       debit_credits_pending, debit_credits_posted, credit_version, credit_previous, credit_debits_pending,
       credit_debits_posted, credit_credits_pending, credit_credits_posted, NULL::bigint AS position
FROM transactions.transfers
WHERE posted_at < $1::timestamptz;
