-- The statements about customers: records, what other sources say, blocks. Names are unqualified, as in queries.sql.

-- name: find_customers
-- The records of many customers, in one read, with who else is the same person, through shared BVNs and NINs, and
-- whether any of them is blocked. At most $3 customers of a person are looked at; the walk ends there. With it the
-- projection of how the person stands in the ledger, as JSON, and how far behind that may be (`projection.sql`). Each
-- number's rows are looked up alone (OFFSET 0 keeps it so): a planner that thinks the table small would read a lender's
-- whole part of it for every person.
SELECT tenant, customer, facts_version, kyc_tier, employment, monthly_income, birth_sealed, identity_sealed,
       bank_known, bvn_token, nin_token, blocked, processing, bureau_as_of, bureau_count, bureau_score, bureau_worst_days_past_due,
       bureau_open_facilities, topups_as_of, topup_monthly, consent_terms, consent_terms_at, consent_bureau,
       consent_bureau_at, consent_recovery, consent_recovery_at,
       recorded_at, person, person_blocked, ledger_at, watermark.given_up AS ledger_given_up,
       clock_timestamp() - proven_at AS ledger_lag,
       (SELECT json_agg(standing.*)
        FROM unnest(whole.person) AS number (customer)
        CROSS JOIN LATERAL (
            SELECT * FROM ledger_standings AS s
            WHERE s.tenant = wanted.tenant AND s.customer = number.customer
            OFFSET 0
        ) AS standing) AS standings
FROM customers
JOIN unnest($1::integer[], $2::uuid[]) AS wanted (tenant, customer) USING (tenant, customer)
LEFT JOIN ledger_watermark AS watermark ON watermark.stream = $4
CROSS JOIN LATERAL (
    WITH RECURSIVE person (customer, bvn_token, nin_token, blocked) AS (
        SELECT customers.customer, customers.bvn_token, customers.nin_token, customers.blocked
        UNION
        SELECT other.customer, other.bvn_token, other.nin_token, other.blocked
        FROM person
        CROSS JOIN LATERAL (
            SELECT same.customer, same.bvn_token, same.nin_token, same.blocked
            FROM customers AS same WHERE same.tenant = wanted.tenant AND same.bvn_token = person.bvn_token
            UNION ALL
            SELECT same.customer, same.bvn_token, same.nin_token, same.blocked
            FROM customers AS same WHERE same.tenant = wanted.tenant AND same.nin_token = person.nin_token
        ) AS other
    )
    SELECT array_agg(known.customer ORDER BY known.customer) AS person,
           bool_or(known.blocked OR EXISTS (
               SELECT FROM customer_blocks AS block
               WHERE block.tenant = wanted.tenant AND block.customer = known.customer AND block.lifted_at IS NULL
                 AND (block.until IS NULL OR block.until > statement_timestamp())
           )) AS person_blocked
    FROM (SELECT * FROM person LIMIT $3) AS known
) AS whole;

-- name: lock_customers
-- What is known of many customers, held until the change commits; in the order of their keys, so that two changes of
-- the same customers take turns.
SELECT tenant, customer, facts_version, kyc_tier, employment, monthly_income, birth_sealed, identity_sealed,
       bank_known, bvn_token, nin_token, blocked, processing, bureau_as_of, bureau_count, bureau_score, bureau_worst_days_past_due,
       bureau_open_facilities, topups_as_of, topup_monthly, consent_terms, consent_terms_at, consent_bureau,
       consent_bureau_at, consent_recovery, consent_recovery_at, recorded_at
FROM customers
JOIN unnest($1::integer[], $2::uuid[]) AS wanted (tenant, customer) USING (tenant, customer)
ORDER BY tenant, customer
FOR UPDATE OF customers;

-- name: insert_customers
-- The first records of customers; one whom another request recorded meanwhile is passed over, and does not come back.
INSERT INTO customers (tenant, customer, facts_version, kyc_tier, employment, monthly_income, birth_sealed,
                       identity_sealed, bank_known, bvn_token, nin_token, blocked, bureau_as_of, bureau_count,
                       bureau_score, bureau_worst_days_past_due, bureau_open_facilities, topups_as_of, topup_monthly,
                       consent_terms, consent_terms_at, consent_bureau, consent_bureau_at, consent_recovery,
                       consent_recovery_at, recorded_at)
SELECT said.*, clock_timestamp()
FROM unnest($1::integer[], $2::uuid[], $3::bigint[], $4::smallint[], $5::text[], $6::bigint[], $7::bytea[],
            $8::bytea[], $9::boolean[], $10::uuid[], $11::uuid[], $12::boolean[], $13::timestamptz[], $14::smallint[],
            $15::smallint[], $16::integer[], $17::integer[], $18::timestamptz[], $19::bigint[], $20::boolean[],
            $21::timestamptz[], $22::boolean[], $23::timestamptz[], $24::boolean[], $25::timestamptz[])
     AS said (tenant, customer, facts_version, kyc_tier, employment, monthly_income, birth_sealed, identity_sealed,
              bank_known, bvn_token, nin_token, blocked, bureau_as_of, bureau_count, bureau_score,
              bureau_worst_days_past_due, bureau_open_facilities, topups_as_of, topup_monthly, consent_terms,
              consent_terms_at, consent_bureau, consent_bureau_at, consent_recovery, consent_recovery_at)
ORDER BY tenant, customer
ON CONFLICT (tenant, customer) DO NOTHING
RETURNING customer;

-- name: update_customers
-- What is now known of customers whose rows are locked. `re_recorded`: the lender's own record is among it.
UPDATE customers
SET (facts_version, kyc_tier, employment, monthly_income, birth_sealed, identity_sealed, bank_known, bvn_token,
     nin_token, blocked, bureau_as_of, bureau_count, bureau_score, bureau_worst_days_past_due,
     bureau_open_facilities, topups_as_of, topup_monthly, consent_terms, consent_terms_at, consent_bureau,
     consent_bureau_at, consent_recovery, consent_recovery_at)
  = (said.facts_version, said.kyc_tier, said.employment, said.monthly_income, said.birth_sealed,
     said.identity_sealed, said.bank_known, said.bvn_token, said.nin_token, said.blocked, said.bureau_as_of,
     said.bureau_count, said.bureau_score, said.bureau_worst_days_past_due, said.bureau_open_facilities,
     said.topups_as_of, said.topup_monthly, said.consent_terms, said.consent_terms_at, said.consent_bureau,
     said.consent_bureau_at, said.consent_recovery, said.consent_recovery_at),
    recorded_at = CASE WHEN said.re_recorded THEN greatest(clock_timestamp(), customers.recorded_at)
                       ELSE customers.recorded_at END
FROM unnest($1::integer[], $2::uuid[], $3::bigint[], $4::smallint[], $5::text[], $6::bigint[], $7::bytea[],
            $8::bytea[], $9::boolean[], $10::uuid[], $11::uuid[], $12::boolean[], $13::timestamptz[], $14::smallint[],
            $15::smallint[], $16::integer[], $17::integer[], $18::timestamptz[], $19::bigint[], $20::boolean[],
            $21::timestamptz[], $22::boolean[], $23::timestamptz[], $24::boolean[], $25::timestamptz[], $26::boolean[])
     AS said (tenant, customer, facts_version, kyc_tier, employment, monthly_income, birth_sealed, identity_sealed,
              bank_known, bvn_token, nin_token, blocked, bureau_as_of, bureau_count, bureau_score,
              bureau_worst_days_past_due, bureau_open_facilities, topups_as_of, topup_monthly, consent_terms,
              consent_terms_at, consent_bureau, consent_bureau_at, consent_recovery, consent_recovery_at, re_recorded)
WHERE customers.tenant = said.tenant AND customers.customer = said.customer;

-- name: bump_facts_version
-- The next version of the facts of a customer whose block is placed or lifted.
UPDATE customers SET facts_version = facts_version + 1 WHERE tenant = $1 AND customer = $2 RETURNING facts_version;

-- name: find_block
-- One block, and whether it is in force by the one clock that judges it.
SELECT block_id, customer, code, words_sealed, until, placed_by, placed_at, lift_id, lifted_by, lifted_at,
       lift_words_sealed,
       lifted_at IS NULL AND (until IS NULL OR until > clock_timestamp()) AS in_force
FROM customer_blocks
WHERE tenant = $1 AND block_id = $2;

-- name: list_blocks
-- The newest blocks of a customer.
SELECT block_id, customer, code, words_sealed, until, placed_by, placed_at, lift_id, lifted_by, lifted_at,
       lift_words_sealed,
       lifted_at IS NULL AND (until IS NULL OR until > clock_timestamp()) AS in_force
FROM customer_blocks
WHERE tenant = $1 AND customer = $2
ORDER BY placed_at DESC, block_id DESC
LIMIT $3;

-- name: insert_block
-- Places a block; no row comes back when its id is taken by now.
INSERT INTO customer_blocks (tenant, block_id, customer, code, words_sealed, until, placed_by, placed_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, clock_timestamp())
ON CONFLICT (tenant, block_id) DO NOTHING
RETURNING block_id;

-- name: lift_blocks
-- Lifts every block of a customer under one code that is in force; their ids.
UPDATE customer_blocks
SET lift_id = $4, lifted_by = $5, lifted_at = clock_timestamp(), lift_words_sealed = $6
WHERE tenant = $1 AND customer = $2 AND code = $3
  AND lifted_at IS NULL AND (until IS NULL OR until > clock_timestamp())
RETURNING block_id;

-- name: find_lifted
-- What a lift lifted: for the same request again.
SELECT block_id, lift_words_sealed
FROM customer_blocks
WHERE tenant = $1 AND customer = $2 AND code = $3 AND lift_id = $4
ORDER BY block_id;
