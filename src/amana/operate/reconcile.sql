-- What must agree inside Amana, each as a statement that returns the rows that do not: (subject, expected, found).
-- All run in one snapshot of the main database, read-only. Loans are joined to accounts by owner, as anybody may.

-- name: trial_balance
-- Debits equal credits in every currency of every tenant.
SELECT 'tenant ' || tenant || ', ' || currency AS subject, sum(debits_posted)::text AS expected,
       sum(credits_posted)::text AS found
FROM transactions.accounts
GROUP BY tenant, currency
HAVING sum(debits_posted) <> sum(credits_posted);

-- name: counters_and_entries
-- An account's counters are the sum of its entries, its version their count, and its last entry says the same.
SELECT 'account ' || a.id AS subject,
       format('debits %s, credits %s, version %s', e.debits, e.credits, e.count) AS expected,
       format('debits %s, credits %s, version %s', a.debits_posted, a.credits_posted, a.version) AS found
FROM transactions.accounts a
LEFT JOIN LATERAL (
    SELECT coalesce(sum(amount) FILTER (WHERE side = 'debit'), 0) AS debits,
           coalesce(sum(amount) FILTER (WHERE side = 'credit'), 0) AS credits,
           count(*) AS count, coalesce(max(version), 0) AS last
    FROM transactions.entries
    WHERE shard = a.shard AND tenant = a.tenant AND account = a.id
) e ON true
WHERE (a.debits_posted, a.credits_posted, a.version) IS DISTINCT FROM (e.debits, e.credits, e.count)
   OR e.last <> e.count;

-- name: transfers_and_entries
-- Every transfer has one debit and one credit entry of its amount, on its accounts, and no entry stands alone.
SELECT 'transfer ' || coalesce(t.id, e.transfer) AS subject,
       coalesce(format('%s from %s to %s', t.amount, t.credit_account, t.debit_account), 'no transfer') AS expected,
       coalesce(e.entries, 'no entries') AS found
FROM transactions.transfers t
FULL JOIN (
    SELECT tenant, transfer, count(*) AS count,
           min(account::text) FILTER (WHERE side = 'debit') AS debit,
           min(account::text) FILTER (WHERE side = 'credit') AS credit,
           min(amount) AS least, max(amount) AS most,
           string_agg(side || ' ' || amount || ' on ' || account, ', ' ORDER BY side) AS entries
    FROM transactions.entries
    GROUP BY tenant, transfer
) e ON e.tenant = t.tenant AND e.transfer = t.id
WHERE (e.count, e.debit, e.credit, e.least, e.most)
      IS DISTINCT FROM (2::bigint, t.debit_account::text, t.credit_account::text, t.amount, t.amount);

-- name: loans_and_accounts
-- What a loan says is owed stands on its principal and fee receivable.
SELECT 'loan ' || l.id AS subject,
       format('principal %s, fee %s', l.principal - l.principal_paid, l.fee - l.fee_paid) AS expected,
       format('principal %s, fee %s', a.principal, a.fee) AS found
FROM transactions.loans l
LEFT JOIN (
    SELECT tenant, owner,
           sum(debits_posted - credits_posted) FILTER (WHERE code = 'principal_receivable') AS principal,
           coalesce(sum(debits_posted - credits_posted) FILTER (WHERE code = 'fee_receivable'), 0) AS fee
    FROM transactions.accounts
    WHERE code IN ('principal_receivable', 'fee_receivable')
    GROUP BY tenant, owner
) a ON a.tenant = l.tenant AND a.owner = l.id
WHERE (l.principal - l.principal_paid, l.fee - l.fee_paid) IS DISTINCT FROM (a.principal, a.fee);

-- name: loans_and_repayments
-- What was paid on a loan is the sum of its repayments that were not taken back.
SELECT 'loan ' || l.id AS subject, format('principal %s, fee %s', r.principal, r.fee) AS expected,
       format('principal %s, fee %s', l.principal_paid, l.fee_paid) AS found
FROM transactions.loans l
LEFT JOIN LATERAL (
    SELECT coalesce(sum(principal_part), 0) AS principal, coalesce(sum(fee_part), 0) AS fee
    FROM transactions.repayments
    WHERE shard = l.shard AND tenant = l.tenant AND loan = l.id AND reversed_by IS NULL
) r ON true
WHERE (l.principal_paid, l.fee_paid) IS DISTINCT FROM (r.principal, r.fee);

-- name: exposure_and_loans
-- A customer's control account stands at what all their loans owe.
SELECT 'customer ' || coalesce(a.owner, l.customer) AS subject, coalesce(l.owed, 0)::text AS expected,
       coalesce(a.debits_posted - a.credits_posted, 0)::text AS found
FROM (SELECT * FROM transactions.accounts WHERE code = 'exposure') a
FULL JOIN (
    SELECT tenant, customer, currency, sum(principal + fee - principal_paid - fee_paid) AS owed
    FROM transactions.loans
    GROUP BY tenant, customer, currency
) l ON l.tenant = a.tenant AND l.customer = a.owner AND l.currency = a.currency
WHERE coalesce(a.debits_posted - a.credits_posted, 0) <> coalesce(l.owed, 0);

-- name: reversals_and_originals
-- The reversals of a transfer never exceed it, stand on its accounts, and are not themselves reversed.
SELECT 'transfer ' || r.reverses AS subject, coalesce('at most ' || max(o.amount), 'an original') AS expected,
       sum(r.amount) || ' reversed' AS found
FROM transactions.transfers r
LEFT JOIN transactions.transfers o ON o.tenant = r.tenant AND o.id = r.reverses
WHERE r.reverses IS NOT NULL
GROUP BY r.tenant, r.reverses
HAVING sum(r.amount) > coalesce(max(o.amount), 0)
    OR bool_or(o.reverses IS NOT NULL OR r.debit_account <> o.credit_account OR r.credit_account <> o.debit_account);

-- name: contra_and_exposure
-- The contra accounts of a tenant and currency stand against exactly what their customers' control accounts say.
SELECT 'tenant ' || tenant || ', ' || currency AS subject,
       sum(debits_posted - credits_posted) FILTER (WHERE code = 'exposure') || ' of exposure' AS expected,
       sum(credits_posted - debits_posted) FILTER (WHERE code = 'exposure_contra') || ' of contra' AS found
FROM transactions.accounts
WHERE code IN ('exposure', 'exposure_contra')
GROUP BY tenant, currency
HAVING sum(debits_posted - credits_posted) <> 0;

-- name: loans_and_events
-- Every loan, repayment and reversal of a repayment has its one event.
SELECT made.kind || ' ' || made.id AS subject, '1 event' AS expected, count(o.seq) || ' events' AS found
FROM (
    SELECT 'loan' AS kind, tenant, id, id AS loan, 'LoanBooked' AS type, 'loan' AS field FROM transactions.loans
    UNION ALL
    SELECT 'repayment', tenant, id, loan, 'RepaymentReceived', 'repayment' FROM transactions.repayments
    UNION ALL
    SELECT 'reversal', tenant, reversed_by, loan, 'RepaymentReversed', 'reversal' FROM transactions.repayments
    WHERE reversed_by IS NOT NULL
) made
LEFT JOIN (
    SELECT seq, tenant, aggregate_id, type, convert_from(body, 'UTF8')::jsonb -> 'data' AS data
    FROM transactions.outbox
    WHERE type IN ('LoanBooked', 'RepaymentReceived', 'RepaymentReversed')
) o ON o.tenant = made.tenant AND o.aggregate_id = made.loan AND o.type = made.type
    AND o.data ->> made.field = made.id::text
GROUP BY made.kind, made.tenant, made.id
HAVING count(o.seq) <> 1;

-- name: transfers_and_events
-- Every transfer has its one event.
SELECT 'transfer ' || coalesce(t.id, o.aggregate_id) AS subject, '1 event' AS expected,
       coalesce(o.count, 0) || ' events' AS found
FROM transactions.transfers t
FULL JOIN (
    SELECT tenant, aggregate_id, count(*) AS count
    FROM transactions.outbox
    WHERE type = 'TransferPosted'
    GROUP BY tenant, aggregate_id
) o ON o.tenant = t.tenant AND o.aggregate_id = t.id
WHERE o.count IS DISTINCT FROM 1 OR t.id IS NULL;

-- name: decisions_and_events
-- Every decision has its one event.
SELECT 'decision ' || coalesce(d.decision_id, o.aggregate_id) AS subject, '1 event' AS expected,
       coalesce(o.count, 0) || ' events' AS found
FROM eligibility.decisions d
FULL JOIN (
    SELECT tenant, aggregate_id, count(*) AS count
    FROM eligibility.outbox
    WHERE type = 'DecisionMade'
    GROUP BY tenant, aggregate_id
) o ON o.tenant = d.tenant AND o.aggregate_id = d.decision_id
WHERE o.count IS DISTINCT FROM 1 OR d.decision_id IS NULL;

-- name: transactions_digests
-- Count and digest of every block of events, in the order of their positions; unsequenced ones have none yet.
SELECT position / 10000 AS block, count(*) AS count,
       encode(sha256(string_agg(sha256(o.body), ''::bytea ORDER BY position)), 'hex') AS digest
FROM transactions.positions p JOIN transactions.outbox o USING (seq)
GROUP BY block ORDER BY block;

-- name: eligibility_digests
-- The same of the other source.
SELECT position / 10000 AS block, count(*) AS count,
       encode(sha256(string_agg(sha256(o.body), ''::bytea ORDER BY position)), 'hex') AS digest
FROM eligibility.positions p JOIN eligibility.outbox o USING (seq)
GROUP BY block ORDER BY block;

-- name: transactions_written
-- Events written, sequenced or not.
SELECT count(*) FROM transactions.outbox;

-- name: eligibility_written
-- Events written, sequenced or not.
SELECT count(*) FROM eligibility.outbox;

-- name: leaf_digests
-- The same of the audit log's leaves of a stream.
SELECT position / 10000 AS block, count(*) AS count,
       encode(sha256(string_agg(sha256(bytes), ''::bytea ORDER BY position)), 'hex') AS digest
FROM audit.leaves
WHERE stream = $1
GROUP BY block ORDER BY block;

-- name: counts
-- What there is, for the report.
SELECT (SELECT count(*) FROM transactions.accounts) AS accounts,
       (SELECT count(*) FROM transactions.transfers) AS transfers,
       (SELECT count(*) FROM transactions.loans) AS loans,
       (SELECT count(*) FROM transactions.repayments) AS repayments,
       (SELECT count(*) FROM eligibility.decisions) AS decisions,
       (SELECT count(*) FROM transactions.outbox) AS transactions_events,
       (SELECT count(*) FROM eligibility.outbox) AS eligibility_events;

-- name: balances
-- Debits less credits by currency, over all tenants.
SELECT currency, sum(debits_posted - credits_posted)::bigint AS difference
FROM transactions.accounts GROUP BY currency ORDER BY currency;

-- name: sealed
-- How many leaves each stream's newest checkpoint covers.
SELECT stream, max(size) AS size FROM audit.checkpoints GROUP BY stream;
