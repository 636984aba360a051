-- What must agree inside Amana, each as a statement that returns the rows that do not: (subject, expected, found).
-- All run in one snapshot of the main database, read-only. Loans are joined to accounts by owner, as anybody may.

-- name: trial_balance
-- Debits equal credits in every currency of every tenant, posted and pending.
SELECT 'tenant ' || tenant || ', ' || currency AS subject,
       sum(debits_posted) || ' posted, ' || sum(debits_pending) || ' pending' AS expected,
       sum(credits_posted) || ' posted, ' || sum(credits_pending) || ' pending' AS found
FROM transactions.accounts
GROUP BY tenant, currency
HAVING sum(debits_posted) <> sum(credits_posted) OR sum(debits_pending) <> sum(credits_pending);

-- name: counters_and_entries
-- An account's four counters are the sums of its entries, its version their count and the last one's.
SELECT 'account ' || a.id AS subject,
       format('debits %s + %s, credits %s + %s, version %s', e.debits, e.debits_held, e.credits, e.credits_held,
              e.count) AS expected,
       format('debits %s + %s, credits %s + %s, version %s', a.debits_posted, a.debits_pending, a.credits_posted,
              a.credits_pending, a.version) AS found
FROM transactions.accounts a
LEFT JOIN (
    SELECT tenant, account, count(*) AS count, max(version) AS last,
           coalesce(sum(posted) FILTER (WHERE side = 'debit'), 0) AS debits,
           coalesce(sum(posted) FILTER (WHERE side = 'credit'), 0) AS credits,
           coalesce(sum(pending) FILTER (WHERE side = 'debit'), 0) AS debits_held,
           coalesce(sum(pending) FILTER (WHERE side = 'credit'), 0) AS credits_held
    FROM transactions.entries
    GROUP BY tenant, account
) e ON e.tenant = a.tenant AND e.account = a.id
WHERE (a.debits_posted, a.debits_pending, a.credits_posted, a.credits_pending, a.version, a.version)
      IS DISTINCT FROM (coalesce(e.debits, 0), coalesce(e.debits_held, 0), coalesce(e.credits, 0),
                        coalesce(e.credits_held, 0), coalesce(e.count, 0), coalesce(e.last, 0));

-- name: chains
-- An account's newest entry carries its counters, and each entry follows the one before: version by version, counter
-- by counter, and by the name of the transfer before it.
SELECT 'account ' || coalesce(a.id, e.account) || ', version ' || coalesce(e.version, a.version) AS subject,
       format('transfer %s, debits %s + %s, credits %s + %s', e.expected_transfer, e.expected_debits,
              e.expected_debits_held, e.expected_credits, e.expected_credits_held) AS expected,
       format('transfer %s, debits %s + %s, credits %s + %s', e.previous, e.debits_posted, e.debits_pending,
              e.credits_posted, e.credits_pending) AS found
FROM (
    SELECT *, lag(transfer) OVER chain AS expected_transfer,
           lead(version) OVER chain IS NULL AS is_last,
           sum(CASE side WHEN 'debit' THEN posted ELSE 0 END) OVER chain AS expected_debits,
           sum(CASE side WHEN 'debit' THEN pending ELSE 0 END) OVER chain AS expected_debits_held,
           sum(CASE side WHEN 'credit' THEN posted ELSE 0 END) OVER chain AS expected_credits,
           sum(CASE side WHEN 'credit' THEN pending ELSE 0 END) OVER chain AS expected_credits_held
    FROM transactions.entries
    WINDOW chain AS (PARTITION BY tenant, account ORDER BY version)
) e
LEFT JOIN transactions.accounts a ON a.tenant = e.tenant AND a.id = e.account
WHERE (e.previous, e.debits_posted, e.debits_pending, e.credits_posted, e.credits_pending)
      IS DISTINCT FROM (e.expected_transfer, e.expected_debits, e.expected_debits_held, e.expected_credits,
                        e.expected_credits_held)
   OR a.id IS NULL
   OR (e.is_last AND (a.last_transfer, a.version) IS DISTINCT FROM (e.transfer, e.version));

-- name: holds_and_pending
-- What is pending on accounts is what open holds still reserve.
SELECT 'account ' || coalesce(a.id, h.account) AS subject,
       format('debits %s, credits %s', coalesce(h.debits, 0), coalesce(h.credits, 0)) AS expected,
       format('debits %s, credits %s', a.debits_pending, a.credits_pending) AS found
FROM (SELECT * FROM transactions.accounts WHERE debits_pending <> 0 OR credits_pending <> 0) a
FULL JOIN (
    SELECT tenant, account, sum(debit) AS debits, sum(credit) AS credits
    FROM (
        SELECT tenant, debit_account AS account, amount - captured AS debit, 0 AS credit
        FROM transactions.holds WHERE state = 'open'
        UNION ALL
        SELECT tenant, credit_account, 0, amount - captured FROM transactions.holds WHERE state = 'open'
    ) open
    GROUP BY tenant, account
) h ON h.tenant = a.tenant AND h.account = a.id
WHERE (coalesce(a.debits_pending, 0), coalesce(a.credits_pending, 0))
      IS DISTINCT FROM (coalesce(h.debits, 0), coalesce(h.credits, 0));

-- name: holds_and_transfers
-- A hold is what was placed, its captures sum to what it says, and what it reserved was released once.
SELECT 'hold ' || coalesce(h.id, t.hold) AS subject,
       format('amount %s, captured %s, reserved %s', t.amount, t.captured, t.amount - t.released) AS expected,
       format('amount %s, captured %s, state %s', h.amount, h.captured, h.state) AS found
FROM transactions.holds h
FULL JOIN (
    SELECT tenant, coalesce(original, id) AS hold,
           sum(amount) FILTER (WHERE kind = 'hold') AS amount,
           coalesce(sum(amount) FILTER (WHERE kind = 'capture'), 0) AS captured,
           sum(released) AS released
    FROM transactions.transfers
    WHERE kind <> 'post'
    GROUP BY tenant, coalesce(original, id)
) t ON t.tenant = h.tenant AND t.hold = h.id
WHERE (h.amount, h.captured, CASE h.state WHEN 'open' THEN h.amount - h.captured ELSE 0 END)
      IS DISTINCT FROM (t.amount, t.captured, t.amount - t.released);

-- name: loans_and_accounts
-- What a loan says is owed stands on its principal and fee receivable; of one that was reversed nothing.
SELECT 'loan ' || l.id AS subject,
       format('principal %s, fee %s', o.principal, o.fee) AS expected,
       format('principal %s, fee %s', a.principal, a.fee) AS found
FROM transactions.loans l
CROSS JOIN LATERAL (
    SELECT CASE WHEN l.reversed_by IS NULL THEN l.principal - l.principal_paid ELSE 0 END AS principal,
           CASE WHEN l.reversed_by IS NULL THEN l.fee - l.fee_paid ELSE 0 END AS fee
) o
LEFT JOIN (
    SELECT tenant, owner,
           sum(debits_posted - credits_posted) FILTER (WHERE code = 'principal_receivable') AS principal,
           coalesce(sum(debits_posted - credits_posted) FILTER (WHERE code = 'fee_receivable'), 0) AS fee
    FROM transactions.accounts
    WHERE code IN ('principal_receivable', 'fee_receivable')
    GROUP BY tenant, owner
) a ON a.tenant = l.tenant AND a.owner = l.id
WHERE (o.principal, o.fee) IS DISTINCT FROM (a.principal, a.fee);

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
    WHERE reversed_by IS NULL
    GROUP BY tenant, customer, currency
) l ON l.tenant = a.tenant AND l.customer = a.owner AND l.currency = a.currency
WHERE coalesce(a.debits_posted - a.credits_posted, 0) <> coalesce(l.owed, 0);

-- name: offers_and_loans
-- An offer is booked or withdrawn, never both.
SELECT 'offer ' || w.offer AS subject, 'withdrawn by ' || w.reversal AS expected, 'booked as ' || l.id AS found
FROM transactions.withdrawn_offers w
JOIN transactions.loans l ON l.shard = w.shard AND l.tenant = w.tenant AND l.decision_id = w.offer
    AND l.origin = 'offer';

-- name: reversals_and_loans
-- What a reversal that is over says of an offer is how the ledger has it: its loan undone by this reversal, or kept.
SELECT 'reversal ' || r.reversal_id || ', offer ' || s.offer AS subject, s.state AS expected,
       CASE WHEN l.id IS NULL THEN 'unbooked' WHEN l.reversed_by IS NOT NULL THEN 'reversed by ' || l.reversal
            WHEN l.reversal IS NOT NULL THEN 'reversing by ' || l.reversal ELSE 'kept' END AS found
FROM eligibility.reversals r
JOIN eligibility.reversal_steps s USING (tenant, reversal_id)
LEFT JOIN transactions.loans l ON l.tenant = s.tenant AND l.decision_id = s.offer AND l.origin = 'offer'
WHERE r.state = 'over' AND s.state <> 'unknown'
  AND (s.state, s.loan, CASE s.state WHEN 'reversed' THEN r.reversal_id END)
      IS DISTINCT FROM (CASE WHEN l.id IS NULL THEN 'unbooked' WHEN l.reversed_by IS NOT NULL THEN 'reversed'
                             WHEN l.reversal IS NULL THEN 'kept' END, l.id, l.reversal);

-- name: reversals_and_originals
-- The reversals of a transfer never exceed it, stand on its accounts, and are not themselves reversed.
SELECT 'transfer ' || r.original AS subject, coalesce('at most ' || max(o.amount), 'an original') AS expected,
       sum(r.amount) || ' reversed' AS found
FROM transactions.transfers r
LEFT JOIN transactions.transfers o ON o.tenant = r.tenant AND o.id = r.original AND o.kind IN ('post', 'capture')
WHERE r.kind = 'post' AND r.original IS NOT NULL
GROUP BY r.tenant, r.original
HAVING sum(r.amount) > coalesce(max(o.amount), 0)
    OR bool_or((o.kind = 'post' AND o.original IS NOT NULL)
               OR r.debit_account <> o.credit_account OR r.credit_account <> o.debit_account);

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
-- Every loan, repayment and reversal of either has its one event. Repayments that went back with their loan are told
-- by the loan's.
SELECT made.kind || ' ' || made.id AS subject, '1 event' AS expected, count(o.type) || ' events' AS found
FROM (
    SELECT 'loan' AS kind, tenant, id, id AS loan, 'LoanBooked' AS type FROM transactions.loans
    UNION ALL
    SELECT 'repayment', tenant, id, loan, 'RepaymentReceived' FROM transactions.repayments
    UNION ALL
    SELECT 'reversal', r.tenant, r.reversed_by, r.loan, 'RepaymentReversed'
    FROM transactions.repayments r
    JOIN transactions.loans l ON l.shard = r.shard AND l.tenant = r.tenant AND l.id = r.loan
    WHERE r.reversed_by IS NOT NULL AND r.reversed_by IS DISTINCT FROM l.reversed_by
    UNION ALL
    SELECT 'loan reversal', tenant, reversed_by, id, 'LoanReversed' FROM transactions.loans
    WHERE reversed_by IS NOT NULL
) made
LEFT JOIN (
    SELECT tenant, aggregate_id, type,
           convert_from(body, 'UTF8')::jsonb -> 'data' ->> CASE type
               WHEN 'LoanBooked' THEN 'loan' WHEN 'RepaymentReceived' THEN 'repayment'
               WHEN 'RepaymentReversed' THEN 'reversal' WHEN 'LoanReversed' THEN 'reversed_by' END AS id
    FROM (SELECT tenant, aggregate_id, type, body FROM transactions.outbox
          UNION ALL
          SELECT tenant, aggregate_id, type, body FROM sealed_events WHERE stream = 'transactions') AS events
    WHERE type IN ('LoanBooked', 'RepaymentReceived', 'RepaymentReversed', 'LoanReversed')
) o ON o.tenant = made.tenant AND o.aggregate_id = made.loan AND o.type = made.type
    AND o.id = made.id::text
GROUP BY made.kind, made.tenant, made.id
HAVING count(o.type) <> 1;

-- name: transfers_and_events
-- Every transfer has its one event.
SELECT 'transfer ' || coalesce(t.id, o.transfer) AS subject, '1 event' AS expected,
       coalesce(o.count, 0) || ' events' AS found
FROM transactions.transfers t
FULL JOIN (
    SELECT tenant, (convert_from(body, 'UTF8')::jsonb -> 'data' ->> 'transfer')::uuid AS transfer, count(*) AS count
    FROM (SELECT tenant, aggregate_id, type, body FROM transactions.outbox
          UNION ALL
          SELECT tenant, aggregate_id, type, body FROM sealed_events WHERE stream = 'transactions') AS events
    WHERE type IN ('TransferPosted', 'HoldPlaced', 'HoldCaptured', 'HoldVoided', 'HoldExpired')
    GROUP BY 1, 2
) o ON o.tenant = t.tenant AND o.transfer = t.id
WHERE o.count IS DISTINCT FROM 1 OR t.id IS NULL;

-- name: decisions_and_events
-- Every decision has its one event.
SELECT 'decision ' || coalesce(d.decision_id, o.aggregate_id) AS subject, '1 event' AS expected,
       coalesce(o.count, 0) || ' events' AS found
FROM eligibility.decisions d
FULL JOIN (
    SELECT tenant, aggregate_id, count(*) AS count
    FROM (SELECT tenant, aggregate_id, type, body FROM eligibility.outbox
          UNION ALL
          SELECT tenant, aggregate_id, type, body FROM sealed_events WHERE stream = 'eligibility') AS events
    WHERE type = 'DecisionMade'
    GROUP BY tenant, aggregate_id
) o ON o.tenant = d.tenant AND o.aggregate_id = d.decision_id
WHERE o.count IS DISTINCT FROM 1 OR d.decision_id IS NULL;

-- name: reviews_and_events
-- Every review, and every end of a reversal that had something to undo, has its one event under its decision, at the
-- version that it made.
SELECT 'review ' || coalesce(r.review_id::text, 'of decision ' || o.aggregate_id) AS subject, '1 event' AS expected,
       coalesce(o.count, 0) || ' events' AS found
FROM (
    SELECT tenant, review_id, decision_id, version FROM eligibility.reviews
    UNION ALL
    SELECT tenant, reversal_id, decision_id, over_version FROM eligibility.reversals WHERE state = 'over'
) r
FULL JOIN (
    SELECT tenant, aggregate_id, (convert_from(body, 'UTF8')::jsonb #>> '{aggregate,version}')::bigint AS version,
           count(*) AS count
    FROM (SELECT tenant, aggregate_id, type, body FROM eligibility.outbox
          UNION ALL
          SELECT tenant, aggregate_id, type, body FROM sealed_events WHERE stream = 'eligibility') AS events
    WHERE type IN ('DecisionOverridden', 'DecisionAppealed', 'AppealResolved', 'DecisionReversed',
                   'DecisionReversalStarted', 'DecisionReversalResumed', 'DecisionReversalAbandoned')
    GROUP BY 1, 2, 3
) o ON o.tenant = r.tenant AND o.aggregate_id = r.decision_id AND o.version = r.version
WHERE o.count IS DISTINCT FROM 1 OR r.review_id IS NULL;

-- name: transactions_digests
-- Count and digest of every block of events from position $1 on, in the order of their positions; unsequenced ones have
-- none yet.
SELECT position / 10000 AS block, count(*) AS count,
       encode(sha256(string_agg(sha256(o.body), ''::bytea ORDER BY position)), 'hex') AS digest
FROM transactions.positions p JOIN transactions.outbox o USING (seq)
WHERE position >= $1
GROUP BY block ORDER BY block;

-- name: eligibility_digests
-- The same of the other source.
SELECT position / 10000 AS block, count(*) AS count,
       encode(sha256(string_agg(sha256(o.body), ''::bytea ORDER BY position)), 'hex') AS digest
FROM eligibility.positions p JOIN eligibility.outbox o USING (seq)
WHERE position >= $1
GROUP BY block ORDER BY block;

-- name: notifications_digests
-- The same of who read what borrowers are told.
SELECT position / 10000 AS block, count(*) AS count,
       encode(sha256(string_agg(sha256(o.body), ''::bytea ORDER BY position)), 'hex') AS digest
FROM notifications.positions p JOIN notifications.outbox o USING (seq)
WHERE position >= $1
GROUP BY block ORDER BY block;

-- name: transactions_written
-- Events there, sequenced or not; how many of them have a position, and which is the first: what was before was pruned.
SELECT (SELECT count(*) FROM transactions.outbox) AS written, (SELECT count(*) FROM transactions.positions) AS placed,
       coalesce((SELECT min(position) FROM transactions.positions), 0) AS oldest;

-- name: eligibility_written
-- The same of the other source.
SELECT (SELECT count(*) FROM eligibility.outbox) AS written, (SELECT count(*) FROM eligibility.positions) AS placed,
       coalesce((SELECT min(position) FROM eligibility.positions), 0) AS oldest;

-- name: notifications_written
-- The same of who read what borrowers are told.
SELECT (SELECT count(*) FROM notifications.outbox) AS written, (SELECT count(*) FROM notifications.positions) AS placed,
       coalesce((SELECT min(position) FROM notifications.positions), 0) AS oldest;

-- name: leaf_digests
-- The same of the audit log's leaves of stream $1, from position $2 on.
SELECT position / 10000 AS block, count(*) AS count,
       encode(sha256(string_agg(sha256(bytes), ''::bytea ORDER BY position)), 'hex') AS digest
FROM audit.leaves
WHERE stream = $1 AND position >= $2
GROUP BY block ORDER BY block;

-- name: make_sealed
-- Events that the services have pruned, as the audit log has them; gone with the connection. The checks look there too.
CREATE TEMP TABLE IF NOT EXISTS sealed_events (stream text, tenant integer, aggregate_id uuid, type text, body bytea);

-- name: sealed_before
-- What the log has of stream $1 before position $2, of the types that are compared with rows.
SELECT stream, tenant, aggregate_id, type, bytes AS body FROM audit.leaves
WHERE stream = $1 AND position < $2 AND type = ANY ($3::text[]);

-- name: leaves_from
-- How many leaves stream $1 has from position $2 on.
SELECT count(*) FROM audit.leaves WHERE stream = $1 AND position >= $2;

-- name: leaves_dropped
-- How many leaves of a stream retention has dropped: all before its first.
SELECT least(coalesce((SELECT max(below) FROM audit.drops WHERE stream = $1), 0),
             (SELECT min(position) FROM audit.leaves WHERE stream = $1));

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
