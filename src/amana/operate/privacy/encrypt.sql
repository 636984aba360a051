-- The statements of `amana privacy encrypt`: what older versions wrote in clear is sealed. Names are unqualified.

-- name: clear_customers
-- The next customers, from after the one named, of whom something is in clear.
SELECT tenant, customer, facts_version, birth_date, bank_code, nuban, phone, bvn, nin
FROM customers
WHERE num_nonnulls(birth_date, bank_code, nuban, phone, bvn, nin) > 0 AND (tenant, customer) > ($1, $2)
ORDER BY tenant, customer
LIMIT $3;

-- name: seal_customers
-- Their rows with everything sealed, where nobody changed them meanwhile: those are found again.
UPDATE customers
SET birth_sealed = sealed.birth, identity_sealed = sealed.identity, bank_known = sealed.bank_known,
    bvn_token = sealed.bvn_token, nin_token = sealed.nin_token,
    birth_date = NULL, bank_code = NULL, nuban = NULL, phone = NULL, bvn = NULL, nin = NULL
FROM unnest($1::integer[], $2::uuid[], $3::bigint[], $4::bytea[], $5::bytea[], $6::boolean[], $7::uuid[], $8::uuid[])
     AS sealed (tenant, customer, facts_version, birth, identity, bank_known, bvn_token, nin_token)
WHERE customers.tenant = sealed.tenant AND customers.customer = sealed.customer
  AND customers.facts_version = sealed.facts_version;

-- name: clear_blocks
-- The next blocks of which something is in clear.
SELECT tenant, block_id, customer, reason, lift_id, lift_reason
FROM customer_blocks
WHERE num_nonnulls(reason, lift_reason) > 0 AND (tenant, block_id) > ($1, $2)
ORDER BY tenant, block_id
LIMIT $3;

-- name: seal_blocks
-- The same blocks with their words sealed, where nobody lifted them meanwhile.
UPDATE customer_blocks
SET words_sealed = coalesce(sealed.words, words_sealed),
    lift_words_sealed = coalesce(sealed.lift_words, lift_words_sealed), reason = NULL, lift_reason = NULL
FROM unnest($1::integer[], $2::uuid[], $3::uuid[], $4::bytea[], $5::bytea[])
     AS sealed (tenant, block_id, lift_id, words, lift_words)
WHERE customer_blocks.tenant = sealed.tenant AND customer_blocks.block_id = sealed.block_id
  AND customer_blocks.lift_id IS NOT DISTINCT FROM sealed.lift_id;

-- name: clear_words
-- The next words of reviews that are in clear, and whose decision's customer they are about.
SELECT w.tenant, w.review_id, d.customer, w.reviewer, w.reason, w.salt
FROM review_words w
JOIN reviews r USING (tenant, review_id)
JOIN decisions d ON d.tenant = r.tenant AND d.decision_id = r.decision_id
WHERE num_nonnulls(w.reviewer, w.reason, w.salt) > 0 AND (w.tenant, w.review_id) > ($1, $2)
ORDER BY w.tenant, w.review_id
LIMIT $3;

-- name: seal_words
-- The same words, sealed.
UPDATE review_words
SET customer = sealed.customer, sealed = sealed.words, reviewer = NULL, reason = NULL, salt = NULL
FROM unnest($1::integer[], $2::uuid[], $3::uuid[], $4::bytea[]) AS sealed (tenant, review_id, customer, words)
WHERE review_words.tenant = sealed.tenant AND review_words.review_id = sealed.review_id;

-- name: erase_words
-- Words about customers who were erased: nothing is left of them.
DELETE FROM review_words
USING unnest($1::integer[], $2::uuid[]) AS erased (tenant, review_id)
WHERE review_words.tenant = erased.tenant AND review_words.review_id = erased.review_id;

-- name: validate_customers
-- From here on the table itself refuses what is in clear.
ALTER TABLE customers VALIDATE CONSTRAINT customers_hold_no_clear_text;

-- name: validate_blocks
-- The same.
ALTER TABLE customer_blocks VALIDATE CONSTRAINT customer_blocks_hold_no_clear_text;

-- name: validate_words
-- The same.
ALTER TABLE review_words VALIDATE CONSTRAINT review_words_hold_no_clear_text;
