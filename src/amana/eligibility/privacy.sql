-- The statements about erasing customers, and copies of what is known of them. Names are unqualified.

-- name: find_erasure
-- The request to erase a customer.
SELECT tenant, erasure_id, customer, reason, requested_by, requested_at, version, due_at, destroyed_at
FROM erasures
WHERE tenant = $1 AND customer = $2;

-- name: find_erasure_by_id
-- The request under an id.
SELECT tenant, erasure_id, customer, reason, requested_by, requested_at, version, due_at, destroyed_at
FROM erasures
WHERE tenant = $1 AND erasure_id = $2;

-- name: lock_erasure
-- The request to erase a customer, held until what becomes of it is written; and whether its time has come.
SELECT tenant, erasure_id, customer, reason, requested_by, requested_at, version, due_at, destroyed_at,
       $3::timestamptz <= clock_timestamp() AS is_due
FROM erasures
WHERE tenant = $1 AND customer = $2
FOR UPDATE;

-- name: insert_erasure
-- A request to erase, to be looked at from now on. One that is here already stays.
INSERT INTO erasures (tenant, erasure_id, customer, reason, requested_by, requested_at, next_at)
VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp())
ON CONFLICT DO NOTHING;

-- name: restrict_customer
-- From now on the customer's data is kept and not used. No row where that is so already.
UPDATE customers SET processing = 'restricted', facts_version = facts_version + 1
WHERE tenant = $1 AND customer = $2 AND processing = 'open'
RETURNING facts_version;

-- name: last_decided
-- When the newest decision about a customer was made.
SELECT max(decided_at) FROM decisions WHERE tenant = $1 AND customer = $2;

-- name: is_reversing
-- Whether a decision about a customer is being reversed.
SELECT EXISTS (
    SELECT FROM decisions
    JOIN reversals USING (tenant, decision_id)
    WHERE tenant = $1 AND customer = $2 AND state <> 'over'
);

-- name: plan_erasure
-- When a customer is to be erased, and when that is looked at again.
UPDATE erasures SET version = $3, due_at = $4, next_at = coalesce($4, clock_timestamp() + make_interval(secs => $5))
WHERE tenant = $1 AND customer = $2;

-- name: postpone_erasure
-- What could not be done now is tried again later.
UPDATE erasures SET next_at = clock_timestamp() + make_interval(secs => $3)
WHERE tenant = $1 AND customer = $2 AND destroyed_at IS NULL;

-- name: postpone_held
-- A legal hold keeps a customer who is due: looked at again later. Not where a release has just said otherwise.
UPDATE erasures SET next_at = clock_timestamp() + make_interval(secs => $3)
WHERE tenant = $1 AND customer = $2 AND destroyed_at IS NULL AND next_at = due_at;

-- name: last_seq
-- The newest row of the outbox that can be seen.
SELECT coalesce(max(seq), 0) FROM outbox;

-- name: was_told
-- Whether an event is in the outbox, after a row of it.
SELECT EXISTS (SELECT FROM outbox WHERE seq > $1 AND event_id = $2);

-- name: due_erasures
-- Who is to be looked at now, the longest due first.
SELECT tenant, customer FROM erasures
WHERE destroyed_at IS NULL AND next_at <= clock_timestamp()
ORDER BY next_at
LIMIT $1;

-- name: page_erased
-- Customers who were erased, in the order of their keys, from after the one named.
SELECT tenant, erasure_id, customer, reason, requested_by, requested_at, version, due_at, destroyed_at
FROM erasures
WHERE destroyed_at IS NOT NULL AND (tenant, customer) > ($1, $2)
ORDER BY tenant, customer
LIMIT $3;

-- name: find_processing
-- What may be done with the data of many customers.
SELECT tenant, customer, processing
FROM customers
JOIN unnest($1::integer[], $2::uuid[]) AS wanted (tenant, customer) USING (tenant, customer);

-- name: erase_customer
-- Nothing personal is left in the row. No row comes back where that is so already.
UPDATE customers
SET birth_sealed = NULL, identity_sealed = NULL, bank_known = false, bvn_token = NULL, nin_token = NULL,
    employment = NULL, monthly_income = NULL, bureau_as_of = NULL, bureau_count = NULL, bureau_score = NULL,
    bureau_worst_days_past_due = NULL, bureau_open_facilities = NULL, topups_as_of = NULL, topup_monthly = NULL,
    consent_terms = NULL, consent_terms_at = NULL, consent_bureau = NULL, consent_bureau_at = NULL,
    consent_recovery = NULL, consent_recovery_at = NULL,
    processing = 'erased', facts_version = facts_version + 1
WHERE tenant = $1 AND customer = $2 AND processing <> 'erased'
RETURNING facts_version;

-- name: erase_words
-- What people wrote about the customer in reviews, with the salts of its digests.
DELETE FROM review_words WHERE tenant = $1 AND customer = $2;

-- name: erase_blocks
-- Why the customer was blocked.
UPDATE customer_blocks SET words_sealed = NULL, lift_words_sealed = NULL WHERE tenant = $1 AND customer = $2;

-- name: end_erasure
-- The request is done.
UPDATE erasures SET destroyed_at = clock_timestamp() WHERE tenant = $1 AND customer = $2 AND destroyed_at IS NULL;

-- name: list_decisions
-- The decisions about a customer from before an instant and id, newest first, with who asked for them.
SELECT decision_id, asked_by
FROM decisions
WHERE tenant = $1 AND customer = $2 AND (decided_at, decision_id) < ($3, $4)
ORDER BY decided_at DESC, decision_id DESC
LIMIT $5;

-- name: holds_clear_text
-- Whether rows of an older version may be here in clear: what refuses that was not made valid yet.
SELECT bool_or(NOT convalidated)
FROM pg_constraint
WHERE connamespace = 'eligibility'::regnamespace AND conname LIKE '%\_hold\_no\_clear\_text';
