-- Statements of the transactions service. Arrays in, rows out: one round trip whatever the batch's size.

-- name: lock_accounts
-- Locks the accounts of a batch, in key order, so that two batches never wait for each other in a circle.
SELECT a.tenant, a.id, a.owner, a.currency, a.code, a.normal_side, a.credit_limit, a.last_posted_at,
       a.status, a.debits_pending, a.debits_posted, a.credits_pending, a.credits_posted, a.version, a.revision,
       a.floor, a.frozen_for, a.last_transfer
FROM accounts a
JOIN unnest($1::text::smallint[], $2::text::integer[], $3::text::uuid[]) AS wanted (shard, tenant, id) USING (shard, tenant, id)
ORDER BY a.shard, a.tenant, a.id
FOR NO KEY UPDATE OF a;

-- name: find_locked
-- Which of these accounts other transactions have locked now, and which transactions: the same one still, or others.
SELECT a.tenant, a.id, a.xmax::text AS holder
FROM (
    SELECT shard, tenant, id FROM accounts
    JOIN unnest($1::text::smallint[], $2::text::integer[], $3::text::uuid[]) AS wanted (shard, tenant, id) USING (shard, tenant, id)
    EXCEPT
    SELECT shard, tenant, id FROM (
        SELECT a.shard, a.tenant, a.id
        FROM accounts a
        JOIN unnest($1::text::smallint[], $2::text::integer[], $3::text::uuid[]) AS wanted (shard, tenant, id) USING (shard, tenant, id)
        FOR NO KEY UPDATE OF a SKIP LOCKED
    ) AS free
) AS locked
JOIN accounts a USING (shard, tenant, id);

-- name: look_up_ids
-- The database's clock, and which of a batch's ids (by their place, from 1) were used before.
SELECT clock_timestamp() AS now,
       ARRAY(SELECT place FROM unnest($1::text::smallint[], $2::text::integer[], $3::text::uuid[])
                 WITH ORDINALITY AS wanted (shard, tenant, id, place)
             JOIN ids USING (shard, tenant, id)) AS used;

-- name: find_answers
-- What is kept under the ids of a batch.
SELECT tenant, id, kind, request, reason, result
FROM commands
JOIN unnest($1::text::smallint[], $2::text::integer[], $3::text::uuid[]) AS wanted (shard, tenant, id) USING (shard, tenant, id);

-- name: find_transfers
-- Stored transfers by id.
SELECT tenant, id, debit_account, credit_account, amount, currency, code, effective_on, kind, original, released,
       command, dated
FROM transfers
JOIN unnest($1::text::smallint[], $2::text::integer[], $3::text::uuid[]) AS wanted (shard, tenant, id) USING (shard, tenant, id);

-- name: find_reversed_amounts
-- How much of each original was reversed already.
SELECT t.tenant, t.original AS id, sum(t.amount)::bigint AS amount
FROM transfers t
JOIN unnest($1::text::smallint[], $2::text::integer[], $3::text::uuid[]) AS wanted (shard, tenant, id)
    ON t.shard = wanted.shard AND t.tenant = wanted.tenant AND t.original = wanted.id
WHERE t.kind = 'post'
GROUP BY t.tenant, t.original;

-- name: find_holds
-- Holds by id.
SELECT tenant, id, debit_account, credit_account, amount, currency, code, ttl_s, expires_at, captured, state, version
FROM holds
JOIN unnest($1::text::smallint[], $2::text::integer[], $3::text::uuid[]) AS wanted (shard, tenant, id) USING (shard, tenant, id);

-- name: find_overdue_holds
-- Open holds on these accounts whose time is over: the oldest $4 at most of each side of each account.
SELECT h.tenant, h.id, h.debit_account, h.credit_account, h.amount, h.currency, h.code, h.ttl_s, h.expires_at,
       h.captured, h.state, h.version
FROM unnest($1::integer[], $2::uuid[]) AS wanted (tenant, account)
CROSS JOIN LATERAL (
    SELECT * FROM holds
    WHERE tenant = wanted.tenant AND debit_account = wanted.account AND state = 'open' AND expires_at <= $3
    ORDER BY expires_at
    LIMIT $4
) AS h
UNION
SELECT h.tenant, h.id, h.debit_account, h.credit_account, h.amount, h.currency, h.code, h.ttl_s, h.expires_at,
       h.captured, h.state, h.version
FROM unnest($1::integer[], $2::uuid[]) AS wanted (tenant, account)
CROSS JOIN LATERAL (
    SELECT * FROM holds
    WHERE tenant = wanted.tenant AND credit_account = wanted.account AND state = 'open' AND expires_at <= $3
    ORDER BY expires_at
    LIMIT $4
) AS h;

-- name: list_overdue_holds
-- What the sweeper should look at: the holds longest over, but those that another transaction has its hands on.
SELECT tenant, id
FROM holds
WHERE state = 'open' AND expires_at <= clock_timestamp()
ORDER BY expires_at
LIMIT $1
FOR NO KEY UPDATE SKIP LOCKED;

-- name: find_loans
-- Loans by id.
SELECT tenant, id, customer, product, currency, principal, fee, term_days, origin, decision_id, effective_at,
       booked_at, principal_paid, fee_paid, closed_at, version, reversal, reversed_by, reversed_at
FROM loans
JOIN unnest($1::text::smallint[], $2::text::integer[], $3::text::uuid[]) AS wanted (shard, tenant, id) USING (shard, tenant, id);

-- name: find_repayments
-- Repayments by id.
SELECT tenant, id, loan, amount, fee_part, principal_part, excess, inferred, effective_at, received_at, reversed_by
FROM repayments
JOIN unnest($1::text::smallint[], $2::text::integer[], $3::text::uuid[]) AS wanted (shard, tenant, id) USING (shard, tenant, id);

-- name: find_offers_used
-- Which of these offers were booked, and as which loan; NULL for those that were withdrawn.
SELECT l.tenant, l.decision_id AS id, l.id AS loan
FROM loans l
JOIN unnest($1::smallint[], $2::integer[], $3::uuid[]) AS wanted (shard, tenant, id)
    ON l.shard = wanted.shard AND l.tenant = wanted.tenant AND l.decision_id = wanted.id
WHERE l.origin = 'offer'
UNION ALL
SELECT o.tenant, o.offer, NULL
FROM withdrawn_offers o
JOIN unnest($1::smallint[], $2::integer[], $3::uuid[]) AS wanted (shard, tenant, offer) USING (shard, tenant, offer);

-- name: insert_accounts
-- Opens accounts with the counters that the batch left.
INSERT INTO accounts (shard, tenant, id, owner, currency, code, normal_side, credit_limit, floor, status, frozen_for,
                      debits_pending, debits_posted, credits_pending, credits_posted, version, last_transfer, revision,
                      opened_at, last_posted_at)
SELECT * FROM unnest($1::smallint[], $2::integer[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::text[],
                     $8::bigint[], $9::bigint[], $10::text[], $11::text[], $12::bigint[], $13::bigint[],
                     $14::bigint[], $15::bigint[], $16::bigint[], $17::uuid[], $18::bigint[], $19::timestamptz[],
                     $20::timestamptz[]);

-- name: write_ids_and_counters
-- Takes the ids of a batch, in the order given, and writes the counters that it left on accounts it had locked: two
-- writes, one round trip. Whichever of them is done first, ids are all that another batch could have its hands on.
WITH moved AS (
    UPDATE accounts a
    SET debits_pending = n.debits_pending, debits_posted = n.debits_posted, credits_pending = n.credits_pending,
        credits_posted = n.credits_posted, version = n.version, last_transfer = n.last_transfer,
        last_posted_at = n.last_posted_at
    FROM unnest($4::text::smallint[], $5::text::integer[], $6::text::uuid[],
                $7::text::bigint[], $8::text::bigint[], $9::text::bigint[], $10::text::bigint[], $11::text::bigint[],
                $12::text::uuid[], $13::timestamptz[])
        AS n (shard, tenant, id, debits_pending, debits_posted, credits_pending, credits_posted, version,
              last_transfer, last_posted_at)
    WHERE a.shard = n.shard AND a.tenant = n.tenant AND a.id = n.id
)
INSERT INTO ids (shard, tenant, id)
SELECT * FROM unnest($1::text::smallint[], $2::text::integer[], $3::text::uuid[]);

-- name: update_account_terms
-- Writes the bounds and states that commands gave to accounts it had locked.
UPDATE accounts a
SET credit_limit = n.credit_limit, floor = n.floor, status = n.status, frozen_for = n.frozen_for, revision = n.revision
FROM unnest($1::smallint[], $2::integer[], $3::uuid[], $4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::bigint[])
    AS n (shard, tenant, id, credit_limit, floor, status, frozen_for, revision)
WHERE a.shard = n.shard AND a.tenant = n.tenant AND a.id = n.id;

-- name: insert_holds
-- New holds.
INSERT INTO holds (shard, tenant, id, debit_account, credit_account, amount, currency, code, ttl_s, expires_at,
                   captured, state, version)
SELECT * FROM unnest($1::smallint[], $2::integer[], $3::uuid[], $4::uuid[], $5::uuid[], $6::bigint[], $7::text[],
                     $8::text[], $9::integer[], $10::timestamptz[], $11::bigint[], $12::text[], $13::bigint[]);

-- name: update_holds
-- What captures, voids and expiry left of holds whose accounts were locked.
UPDATE holds h
SET captured = n.captured, state = n.state, version = n.version
FROM unnest($1::smallint[], $2::integer[], $3::uuid[], $4::bigint[], $5::text[], $6::bigint[])
    AS n (shard, tenant, id, captured, state, version)
WHERE h.shard = n.shard AND h.tenant = n.tenant AND h.id = n.id;

-- name: insert_marks
-- Places to begin a walk along an account's chain.
INSERT INTO marks (shard, tenant, account, version, transfer, posted_at)
SELECT * FROM unnest($1::smallint[], $2::integer[], $3::uuid[], $4::bigint[], $5::uuid[], $6::timestamptz[]);

-- name: insert_answers
-- Answers, for ever, under their ids.
INSERT INTO commands (shard, tenant, id, kind, request, reason, result, recorded_at)
SELECT shard, tenant, id, kind, request::jsonb, reason, result::jsonb, recorded_at
FROM unnest($1::smallint[], $2::integer[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[],
            $8::timestamptz[]) AS n (shard, tenant, id, kind, request, reason, result, recorded_at);

-- name: insert_loans
-- New loans.
INSERT INTO loans (shard, tenant, id, customer, product, currency, principal, fee, term_days, due_on, origin,
                   decision_id, effective_at, booked_at, principal_paid, fee_paid, closed_at, version, reversal,
                   reversed_by, reversed_at)
SELECT * FROM unnest($1::smallint[], $2::integer[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::bigint[],
                     $8::bigint[], $9::integer[], $10::date[], $11::text[], $12::uuid[], $13::timestamptz[],
                     $14::timestamptz[], $15::bigint[], $16::bigint[], $17::timestamptz[], $18::bigint[],
                     $19::uuid[], $20::uuid[], $21::timestamptz[]);

-- name: update_loans
-- What repayments and their reversals left of loans.
UPDATE loans l
SET principal_paid = n.principal_paid, fee_paid = n.fee_paid, closed_at = n.closed_at, version = n.version,
    reversal = n.reversal, reversed_by = n.reversed_by, reversed_at = n.reversed_at
FROM unnest($1::smallint[], $2::integer[], $3::uuid[], $4::bigint[], $5::bigint[], $6::timestamptz[], $7::bigint[],
            $8::uuid[], $9::uuid[], $10::timestamptz[])
    AS n (shard, tenant, id, principal_paid, fee_paid, closed_at, version, reversal, reversed_by, reversed_at)
WHERE l.shard = n.shard AND l.tenant = n.tenant AND l.id = n.id;

-- name: insert_repayments
-- New repayments.
INSERT INTO repayments (shard, tenant, id, loan, amount, fee_part, principal_part, excess, inferred, effective_at,
                        received_at, reversed_by, reversal_effective_at)
SELECT * FROM unnest($1::smallint[], $2::integer[], $3::uuid[], $4::uuid[], $5::bigint[], $6::bigint[], $7::bigint[],
                     $8::bigint[], $9::boolean[], $10::timestamptz[], $11::timestamptz[], $12::uuid[],
                     $13::timestamptz[]);

-- name: reverse_repayments
-- Marks repayments as taken back.
UPDATE repayments r
SET reversed_by = n.reversed_by, reversal_effective_at = n.effective_at
FROM unnest($1::smallint[], $2::integer[], $3::uuid[], $4::uuid[], $5::timestamptz[])
    AS n (shard, tenant, id, reversed_by, effective_at)
WHERE r.shard = n.shard AND r.tenant = n.tenant AND r.id = n.id AND r.reversed_by IS NULL;

-- name: get_account
-- One account. What is held beyond its time counts no more, whether it was swept or not.
SELECT tenant, id, owner, currency, code, normal_side, credit_limit, last_posted_at, status,
       debits_pending - CASE WHEN debits_pending = 0 THEN 0 ELSE (
           SELECT coalesce(sum(h.amount - h.captured), 0) FROM holds h
           WHERE h.tenant = a.tenant AND h.debit_account = a.id AND h.state = 'open' AND h.expires_at <= now()
       ) END::bigint AS debits_pending,
       debits_posted,
       credits_pending - CASE WHEN credits_pending = 0 THEN 0 ELSE (
           SELECT coalesce(sum(h.amount - h.captured), 0) FROM holds h
           WHERE h.tenant = a.tenant AND h.credit_account = a.id AND h.state = 'open' AND h.expires_at <= now()
       ) END::bigint AS credits_pending,
       credits_posted, version, revision, floor, frozen_for, last_transfer
FROM accounts a
WHERE shard = $1 AND tenant = $2 AND id = $3;

-- name: owners_of
-- Who owns the accounts $3 of tenant $1, in shards $2.
SELECT DISTINCT a.owner
FROM unnest($2::smallint[], $3::uuid[]) AS wanted (shard, id)
JOIN accounts a ON a.shard = wanted.shard AND a.tenant = $1 AND a.id = wanted.id;

-- name: list_accounts
-- The accounts of an owner, after an id; what is held beyond its time counts no more.
SELECT tenant, id, owner, currency, code, normal_side, credit_limit, last_posted_at, status,
       debits_pending - CASE WHEN debits_pending = 0 THEN 0 ELSE (
           SELECT coalesce(sum(h.amount - h.captured), 0) FROM holds h
           WHERE h.tenant = a.tenant AND h.debit_account = a.id AND h.state = 'open' AND h.expires_at <= now()
       ) END::bigint AS debits_pending,
       debits_posted,
       credits_pending - CASE WHEN credits_pending = 0 THEN 0 ELSE (
           SELECT coalesce(sum(h.amount - h.captured), 0) FROM holds h
           WHERE h.tenant = a.tenant AND h.credit_account = a.id AND h.state = 'open' AND h.expires_at <= now()
       ) END::bigint AS credits_pending,
       credits_posted, version, revision, floor, frozen_for, last_transfer
FROM accounts a
WHERE tenant = $1 AND owner = $2 AND id > $3
ORDER BY id
LIMIT $4;

-- name: start_at_version
-- Where a walk to a version begins: the first mark at or after it, else the account's newest transfer.
SELECT coalesce(
    (SELECT transfer FROM marks
     WHERE shard = $1 AND tenant = $2 AND account = $3 AND version >= $4 ORDER BY version LIMIT 1),
    (SELECT last_transfer FROM accounts WHERE shard = $1 AND tenant = $2 AND id = $3));

-- name: start_at_instant
-- Where a walk to an instant begins: the first mark after it, else the account's newest transfer.
SELECT coalesce(
    (SELECT transfer FROM marks
     WHERE shard = $1 AND tenant = $2 AND account = $3 AND posted_at >= $4 ORDER BY posted_at, version LIMIT 1),
    (SELECT last_transfer FROM accounts WHERE shard = $1 AND tenant = $2 AND id = $3));

-- name: walk_to_version
-- An account's entries from a transfer ($3) back to a version ($5, included), oldest first, at most $6 of them.
WITH RECURSIVE chain AS (
    SELECT e.* FROM entry_of($1, $2, $3, $4) e
    UNION ALL
    SELECT e.* FROM chain c CROSS JOIN LATERAL entry_of($1, $2, c.previous, $4) e WHERE c.version > $5
)
SELECT version, transfer, kind, side, posted, pending, debits_pending, debits_posted, credits_pending, credits_posted,
       posted_at, effective_on
FROM chain
WHERE version >= $5
ORDER BY version
LIMIT $6;

-- name: walk_to_instant
-- The last entry of an account before an instant ($5), found from a transfer ($3) at or after it.
WITH RECURSIVE chain AS (
    SELECT e.* FROM entry_of($1, $2, $3, $4) e
    UNION ALL
    SELECT e.* FROM chain c CROSS JOIN LATERAL entry_of($1, $2, c.previous, $4) e WHERE c.posted_at >= $5
)
SELECT version, transfer, kind, side, posted, pending, debits_pending, debits_posted, credits_pending, credits_posted,
       posted_at, effective_on
FROM chain
WHERE posted_at < $5
ORDER BY version DESC
LIMIT 1;

-- name: read_clock
-- The database's clock.
SELECT clock_timestamp();

-- name: wait_for_batch
-- Waits for the batch that has an account's row in its hands. The lock is worth nothing afterwards, so that the COMMIT
-- need not reach the disk.
SELECT set_config('synchronous_commit', 'off', true)
FROM accounts
WHERE shard = $1 AND tenant = $2 AND id = $3
FOR SHARE;

-- name: find_held_beyond_time
-- What an account's entry ($5, its version) before an instant ($4) still counts of holds that were over by then: those
-- not yet released, and those that a later entry released, looked for up to a version ($6). One statement, because a
-- hold passes from the ones to the others.
WITH RECURSIVE later AS (
    SELECT e.* FROM entry_of($2, $3, coalesce(
        (SELECT transfer FROM marks
         WHERE shard = $1 AND tenant = $2 AND account = $3 AND version >= $6 ORDER BY version LIMIT 1),
        (SELECT last_transfer FROM accounts WHERE shard = $1 AND tenant = $2 AND id = $3)), $7) e
    UNION ALL
    SELECT e.* FROM later l CROSS JOIN LATERAL entry_of($2, $3, l.previous, $7) e WHERE l.version > $5 + 1
), held AS (
    SELECT 'debit' AS side, amount - captured AS amount FROM holds
    WHERE tenant = $2 AND debit_account = $3 AND state = 'open' AND expires_at <= $4
    UNION ALL
    SELECT 'credit', amount - captured FROM holds
    WHERE tenant = $2 AND credit_account = $3 AND state = 'open' AND expires_at <= $4
    UNION ALL
    SELECT l.side, -l.pending
    FROM later l
    JOIN transfers t ON t.shard = shard_of(l.transfer, $7) AND t.tenant = $2 AND t.id = l.transfer
    JOIN holds h ON h.shard = shard_of(t.original, $7) AND h.tenant = $2 AND h.id = t.original
    WHERE l.version > $5 AND l.kind = 'expire' AND h.expires_at <= $4
)
SELECT coalesce(sum(amount) FILTER (WHERE side = 'debit'), 0)::bigint AS debits,
       coalesce(sum(amount) FILTER (WHERE side = 'credit'), 0)::bigint AS credits
FROM held;

-- name: show_transfers
-- Transfers with how much of each was reversed, what became of it as a hold, and what its client said about it.
SELECT t.id, t.kind, t.debit_account, t.credit_account, t.amount, t.currency, t.code, t.effective_on, t.posted_at,
       t.original, t.released, t.command,
       (SELECT coalesce(sum(r.amount), 0)::bigint FROM transfers r
        WHERE r.shard = t.shard AND r.tenant = t.tenant AND r.original = t.id AND r.kind = 'post') AS reversed_amount,
       CASE WHEN h.state = 'open' AND h.expires_at <= now() THEN 'expired' ELSE h.state END AS state,
       h.captured, h.expires_at, n.transfer IS NOT NULL AS noted, n.debit_owner, n.credit_owner, n.sealed, n.kek,
       n.reference, n.metadata, n.salt
FROM unnest($1::text::smallint[], $2::text::integer[], $3::text::uuid[]) AS wanted (shard, tenant, id)
JOIN transfers t USING (shard, tenant, id)
LEFT JOIN holds h ON h.shard = t.shard AND h.tenant = t.tenant AND h.id = t.id
LEFT JOIN notes n ON n.shard = t.shard AND n.tenant = t.tenant AND n.transfer = t.id
ORDER BY t.id;

-- name: list_transfers_by_reference
-- The transfers that a lender calls so, by the fingerprint ($2) or, where an older version wrote it, in clear ($5);
-- after an id.
SELECT t.id, t.kind, t.debit_account, t.credit_account, t.amount, t.currency, t.code, t.effective_on, t.posted_at,
       t.original, t.released, t.command,
       (SELECT coalesce(sum(r.amount), 0)::bigint FROM transfers r
        WHERE r.shard = t.shard AND r.tenant = t.tenant AND r.original = t.id AND r.kind = 'post') AS reversed_amount,
       CASE WHEN h.state = 'open' AND h.expires_at <= now() THEN 'expired' ELSE h.state END AS state,
       h.captured, h.expires_at, n.transfer IS NOT NULL AS noted, n.debit_owner, n.credit_owner, n.sealed, n.kek,
       n.reference, n.metadata, n.salt
FROM notes n
JOIN transfers t ON t.shard = n.shard AND t.tenant = n.tenant AND t.id = n.transfer
LEFT JOIN holds h ON h.shard = t.shard AND h.tenant = t.tenant AND h.id = t.id
WHERE n.tenant = $1 AND (n.reference_print = $2 AND octet_length(n.reference_print) > 0 OR n.reference = $5)
  AND n.transfer > $3
ORDER BY n.transfer
LIMIT $4;

-- name: list_loans
-- A customer's loans, oldest first, after (effective_at, id).
SELECT tenant, id, customer, product, currency, principal, fee, term_days, origin, decision_id, effective_at,
       booked_at, principal_paid, fee_paid, closed_at, version, reversal, reversed_by, reversed_at
FROM loans
WHERE tenant = $1 AND customer = $2 AND shard = $3 AND id > $4
ORDER BY id
LIMIT $5;

-- name: list_repayments
-- A loan's repayments, in the order of their business time.
SELECT tenant, id, loan, amount, fee_part, principal_part, excess, inferred, effective_at, received_at, reversed_by
FROM repayments
WHERE shard = $1 AND tenant = $2 AND loan = $3
ORDER BY effective_at, id
LIMIT $4;

-- name: trial_balance
-- Debits and credits of all accounts of a tenant, by currency and code; what is held beyond its time counts no more.
WITH held AS (
    SELECT debit_account AS account, amount - captured AS debits, 0 AS credits FROM holds
    WHERE tenant = $1 AND state = 'open' AND expires_at <= now()
    UNION ALL
    SELECT credit_account, 0, amount - captured FROM holds
    WHERE tenant = $1 AND state = 'open' AND expires_at <= now()
), beyond AS (
    SELECT account, sum(debits) AS debits, sum(credits) AS credits FROM held GROUP BY account
)
SELECT a.currency, a.code, count(*) AS accounts, sum(a.debits_posted) AS debits_posted,
       sum(a.credits_posted) AS credits_posted, sum(a.debits_pending - coalesce(o.debits, 0)) AS debits_pending,
       sum(a.credits_pending - coalesce(o.credits, 0)) AS credits_pending
FROM accounts a
LEFT JOIN beyond o ON o.account = a.id
WHERE a.tenant = $1
GROUP BY a.currency, a.code
ORDER BY a.currency, a.code;

-- name: standings
-- What each customer owes and how they repaid, counting only what took effect before `as_of`. `lasts`: nothing that is
-- recorded takes effect at `as_of` or later.
WITH wanted AS (
    SELECT * FROM unnest($3::integer[], $4::smallint[], $5::uuid[], $6::uuid[], $7::timestamptz[])
        AS w (ord, shard, customer, control, as_of)
), known AS (
    SELECT w.ord, w.as_of, l.principal, l.fee, l.due_on, l.effective_at,
           coalesce(sum(r.fee_part + r.principal_part) FILTER (WHERE counts), 0) AS paid,
           coalesce(sum(r.principal_part) FILTER (WHERE counts), 0) AS principal_paid,
           -- What was over, or taken back since, closed nothing.
           max(r.effective_at) FILTER (WHERE counts AND r.fee_part + r.principal_part > 0) AS last_repaid_at,
           coalesce(l.reversed_at >= w.as_of, false)
               OR coalesce(bool_or(greatest(r.effective_at, r.reversal_effective_at) >= w.as_of), false) AS later
    FROM wanted w
    JOIN loans l ON l.shard = w.shard AND l.tenant = $1 AND l.customer = w.customer AND l.currency = $2
        AND l.effective_at < w.as_of
        -- A loan that was undone by then is none: neither good history nor bad.
        AND (l.reversed_at IS NULL OR l.reversed_at >= w.as_of)
    LEFT JOIN repayments r ON r.shard = l.shard AND r.tenant = l.tenant AND r.loan = l.id
    CROSS JOIN LATERAL (
        SELECT r.effective_at < w.as_of AND (r.reversal_effective_at IS NULL OR r.reversal_effective_at >= w.as_of)
            AS counts
    ) AS judged_alone
    GROUP BY w.ord, w.as_of, l.shard, l.tenant, l.id
), judged AS (
    -- Business times may cross (a repayment recorded later but effective before a reversal): nobody owes less than 0.
    SELECT ord, principal, principal_paid, least(paid, principal + fee) AS paid, effective_at, due_on,
           later, greatest(0, principal + fee - paid) AS owed,
           last_repaid_at AT TIME ZONE 'Africa/Lagos' AS last_repaid_local,
           greatest(0, (CASE WHEN principal + fee - paid > 0 THEN as_of ELSE last_repaid_at END
                        AT TIME ZONE 'Africa/Lagos')::date - due_on) AS days_past_due
    FROM known
), folded AS (
    SELECT ord, sum(owed)::bigint AS owed, count(*) AS loans_total,
           count(*) FILTER (WHERE owed > 0) AS loans_open,
           count(*) FILTER (WHERE owed = 0) AS loans_closed,
           max(days_past_due) AS worst_days_past_due,
           max(days_past_due) FILTER (WHERE owed > 0) AS current_days_past_due,
           max(principal) FILTER (WHERE owed = 0) AS largest_principal_repaid,
           sum(paid)::bigint AS repaid_total,
           min((effective_at AT TIME ZONE 'Africa/Lagos')::date) AS first_loan_on,
           max(last_repaid_local::date) FILTER (WHERE owed = 0) AS last_closed_on,
           min(due_on) FILTER (WHERE owed > 0) AS open_due_on, bool_or(later) AS later
    FROM judged
    GROUP BY ord
)
SELECT w.customer, a.credit_limit, a.debits_posted + a.debits_pending - a.credits_posted AS drawn, f.*,
       NOT coalesce(f.later, false) AND NOT EXISTS (
           SELECT FROM loans AS l
           WHERE l.shard = w.shard AND l.tenant = $1 AND l.customer = w.customer AND l.currency = $2
             AND l.effective_at >= w.as_of
       ) AS lasts
FROM wanted w
LEFT JOIN accounts a ON a.shard = w.shard AND a.tenant = $1 AND a.id = w.control
LEFT JOIN folded f ON f.ord = w.ord
ORDER BY w.ord;
