-- What a replay keeps, in a schema of its own that is dropped afterwards. Names are unqualified: search_path decides.
--
-- Every table has the columns of its rows in `domain/projection`, and beside it, under `live_`, a twin that holds the
-- rows of the live table. Nothing here is logged or kept over a crash: it can be made again.

-- name: create_schema
-- The statement that makes a schema.
SELECT format('CREATE SCHEMA %I', $1::text);

-- name: drop_schema
-- The statement that removes a schema and all in it.
SELECT format('DROP SCHEMA IF EXISTS %I CASCADE', $1::text);

-- name: make_accounts
-- Accounts as the log leaves them.
CREATE UNLOGGED TABLE accounts (
    tenant integer, id uuid, shard smallint, owner uuid, currency text, code text, normal_side text,
    credit_limit bigint, floor bigint, opened_at timestamptz, last_posted_at timestamptz, status text, frozen_for text,
    debits_pending bigint, debits_posted bigint, credits_pending bigint, credits_posted bigint, version bigint,
    last_transfer uuid, revision bigint, position bigint,
    PRIMARY KEY (tenant, id));

-- name: make_holds
-- Holds as the log leaves them.
CREATE UNLOGGED TABLE holds (
    tenant integer, id uuid, shard smallint, debit_account uuid, credit_account uuid, amount bigint, currency text,
    code text, ttl_s integer, expires_at timestamptz, captured bigint, state text, version bigint, position bigint,
    PRIMARY KEY (tenant, id));

-- name: make_transfers
-- Every movement that the log tells. Written once, read once: no key.
CREATE UNLOGGED TABLE transfers (
    tenant integer, id uuid, shard smallint, kind text, debit_account uuid, credit_account uuid, amount bigint,
    currency text, code text, effective_on date, posted_at timestamptz, original uuid, released bigint, command uuid,
    debit_version bigint, debit_previous uuid, debit_debits_pending bigint, debit_debits_posted bigint,
    debit_credits_pending bigint, debit_credits_posted bigint, credit_version bigint, credit_previous uuid,
    credit_debits_pending bigint, credit_debits_posted bigint, credit_credits_pending bigint,
    credit_credits_posted bigint, position bigint);

-- name: make_marks
-- Places to begin a walk along an account's chain.
CREATE UNLOGGED TABLE marks (
    tenant integer, account uuid, version bigint, shard smallint, transfer uuid, posted_at timestamptz,
    position bigint);

-- name: make_loans
-- Loans as the log leaves them.
CREATE UNLOGGED TABLE loans (
    tenant integer, id uuid, shard smallint, customer uuid, product text, currency text, principal bigint, fee bigint,
    term_days integer, due_on date, origin text, decision_id uuid, effective_at timestamptz, booked_at timestamptz,
    principal_paid bigint, fee_paid bigint, closed_at timestamptz, version bigint, reversal uuid, reversed_by uuid,
    reversed_at timestamptz, position bigint,
    PRIMARY KEY (tenant, id));

-- name: make_repayments
-- Repayments as the log leaves them.
CREATE UNLOGGED TABLE repayments (
    tenant integer, id uuid, shard smallint, loan uuid, amount bigint, fee_part bigint, principal_part bigint,
    excess bigint, inferred boolean, effective_at timestamptz, received_at timestamptz, reversed_by uuid,
    reversal_effective_at timestamptz, position bigint,
    PRIMARY KEY (tenant, id));

-- name: make_withdrawn_offers
-- Every offer that the log closes. Written once, read once: no key.
CREATE UNLOGGED TABLE withdrawn_offers (
    tenant integer, offer uuid, shard smallint, reversal uuid, withdrawn_at timestamptz, position bigint);

-- name: make_exposures
-- What each customer owes in each currency, from the events of loans and credit lines alone.
CREATE UNLOGGED TABLE exposures (
    tenant integer, customer uuid, currency text, credit_limit bigint, owed bigint, loans_open integer,
    position bigint,
    PRIMARY KEY (tenant, customer, currency));

-- name: make_customers
-- What events say of customers.
CREATE UNLOGGED TABLE customers (
    tenant integer, customer uuid, facts_version bigint, kyc_tier smallint, blocked boolean, known text[],
    consent_terms boolean, consent_bureau boolean, consent_recovery boolean, processing text, position bigint,
    PRIMARY KEY (tenant, customer));

-- name: make_customer_blocks
-- Blocks as the log leaves them.
CREATE UNLOGGED TABLE customer_blocks (
    tenant integer, block_id uuid, customer uuid, code text, until timestamptz, placed_by text, lifted_by text,
    position bigint,
    PRIMARY KEY (tenant, block_id));

-- name: make_decisions
-- Every decision that the log tells. Written once, read once: no key.
CREATE UNLOGGED TABLE decisions (
    tenant integer, decision_id uuid, customer uuid, product text, amount bigint, currency text, term_days integer,
    terms_fee bigint, as_of timestamptz, to_borrow boolean, offer_id uuid, outcome text, policy_version integer,
    policy_hash text, decision bytea, is_offer boolean, asked_by text, position bigint);

-- name: make_decision_standings
-- How reviewed decisions stand.
CREATE UNLOGGED TABLE decision_standings (
    tenant integer, decision_id uuid, version bigint, standing text, override_id uuid, position bigint,
    PRIMARY KEY (tenant, decision_id));

-- name: make_reviews
-- Every review that the log tells. Written once, read once: no key.
CREATE UNLOGGED TABLE reviews (
    tenant integer, review_id uuid, decision_id uuid, version bigint, kind text, standing text, outcome text,
    terms bytea, expires_at timestamptz, offers uuid[], actor text, words_digest text, reviewed_at timestamptz,
    position bigint);

-- name: make_appeals
-- Appeals as the log leaves them.
CREATE UNLOGGED TABLE appeals (
    tenant integer, appeal_id uuid, decision_id uuid, state text, filed_at timestamptz, filed_version bigint,
    resolution_id uuid, position bigint,
    PRIMARY KEY (tenant, appeal_id));

-- name: make_reversals
-- Reversals as the log leaves them.
CREATE UNLOGGED TABLE reversals (
    tenant integer, reversal_id uuid, decision_id uuid, state text, undo bytea, begun_at timestamptz, steps uuid[],
    over_at timestamptz, over_version bigint, position bigint,
    PRIMARY KEY (tenant, reversal_id));

-- name: make_reversal_steps
-- What became of their offers, where the log says it.
CREATE UNLOGGED TABLE reversal_steps (
    tenant integer, reversal_id uuid, offer uuid, state text, loan uuid, kept_because text, stuck_because text,
    position bigint,
    PRIMARY KEY (tenant, reversal_id, offer));

-- name: make_policies
-- Versions of policies, by the hash of their documents.
CREATE UNLOGGED TABLE policies (
    tenant integer, product text, version integer, hash text, restores integer, position bigint);

-- name: make_policy_steps
-- The steps of versions' lives.
CREATE UNLOGGED TABLE policy_steps (
    tenant integer, product text, version integer, step text, actor text, valid_from timestamptz, position bigint);

-- name: make_policy_products
-- Products as the log leaves them.
CREATE UNLOGGED TABLE policy_products (
    tenant integer, product text, versions integer, events bigint, told integer, told_from timestamptz,
    position bigint,
    PRIMARY KEY (tenant, product));

-- name: make_tail
-- Events that were committed when the live rows were read and had no position yet, in the order they will come in.
CREATE UNLOGGED TABLE tail (stream text, place bigint, type text, body bytea);

-- name: make_twin
-- A function that makes the live twin of a table, and a place where rows wait to be merged into it.
CREATE FUNCTION twin(of text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE UNLOGGED TABLE %I (LIKE %I)', 'live_' || of, of);
    EXECUTE format('CREATE UNLOGGED TABLE %I (LIKE %I)', 'waiting_' || of, of);
END $$;

-- name: make_merge
-- A function that puts what waits in place of the rows of the same keys.
CREATE FUNCTION merge(into_table text, keys text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    same text := (SELECT string_agg(format('t.%1$I = w.%1$I', key), ' AND ') FROM unnest(keys) AS key);
BEGIN
    EXECUTE format('DELETE FROM %I t USING %I w WHERE %s', into_table, 'waiting_' || into_table, same);
    EXECUTE format('INSERT INTO %I SELECT * FROM %I', into_table, 'waiting_' || into_table);
    EXECUTE format('TRUNCATE %I', 'waiting_' || into_table);
END $$;

-- name: make_differences
-- A function that finds the rows of a table and its live twin that are not equal: the key, both rows without it (null
-- where there is none), the event that touched it last, and how many differ in all. At most `most` of them.
CREATE FUNCTION differences(of text, keys text[], most integer)
RETURNS TABLE (key jsonb, live jsonb, rebuilt jsonb, "position" bigint, differing bigint) LANGUAGE plpgsql AS $$
DECLARE
    columns text[] := ARRAY(
        SELECT attname FROM pg_attribute
        WHERE attrelid = of::regclass AND attnum > 0 AND attname <> 'position' ORDER BY attnum);
    ours text := (SELECT string_agg(format('r.%I', name), ', ') FROM unnest(columns) AS name);
    theirs text := (SELECT string_agg(format('l.%I', name), ', ') FROM unnest(columns) AS name);
BEGIN
    RETURN QUERY EXECUTE format(
        'SELECT (SELECT jsonb_object_agg(name, coalesce(to_jsonb(l) -> name, to_jsonb(r) -> name))
                 FROM unnest($1) AS name),
                CASE WHEN l.tenant IS NOT NULL THEN to_jsonb(l) - $1 - ''position'' END,
                CASE WHEN r.tenant IS NOT NULL THEN to_jsonb(r) - $1 - ''position'' END,
                r.position, count(*) OVER ()
         FROM %1$I AS l FULL JOIN %2$I AS r ON %3$s
         WHERE ROW(%4$s) IS DISTINCT FROM ROW(%5$s)
         ORDER BY r.position NULLS FIRST
         LIMIT $2',
        'live_' || of, of,
        (SELECT string_agg(format('l.%1$I = r.%1$I', name), ' AND ') FROM unnest(keys) AS name),
        theirs, ours)
    USING keys, most;
END $$;

-- name: make_doubles
-- A function that finds the keys that a table has more than once: the key, how often, the event that said it last, and
-- how many keys in all. At most `most` of them.
CREATE FUNCTION doubles(of text, keys text[], most integer)
RETURNS TABLE (key jsonb, times bigint, "position" bigint, differing bigint) LANGUAGE plpgsql AS $$
DECLARE
    names text := (SELECT string_agg(format('%I', name), ', ') FROM unnest(keys) AS name);
    named text := (SELECT string_agg(format('%L, %I', name, name), ', ') FROM unnest(keys) AS name);
BEGIN
    RETURN QUERY EXECUTE format(
        'SELECT jsonb_build_object(%1$s), count(*), max(position), count(*) OVER ()
         FROM %2$I GROUP BY %3$s HAVING count(*) > 1 LIMIT $1',
        named, of, names)
    USING most;
END $$;

-- name: make_counted
-- A function that counts the rows of a table.
CREATE FUNCTION counted(of text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    found bigint;
BEGIN
    EXECUTE format('SELECT count(*) FROM %I', of) INTO found;
    RETURN found;
END $$;

-- name: by_key
-- For the rest of this transaction: rows are found by their keys, however large the tables have grown unnoticed.
SELECT set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
       set_config('enable_mergejoin', 'off', true);

-- name: take_room
-- For comparing whole tables.
SELECT set_config('work_mem', '128MB', false);

-- name: twin
-- The live twin of a table.
SELECT twin($1);

-- name: merge
-- What waits, in place of what was there.
SELECT merge($1, $2);

-- name: counted
-- How many rows a table has.
SELECT counted($1);

-- name: differences
-- Rows that are not equal.
SELECT * FROM differences($1, $2, $3);

-- name: doubles
-- Keys that are there more than once.
SELECT * FROM doubles($1, $2, $3);

-- name: find_accounts
-- Accounts by key.
SELECT t.* FROM accounts t JOIN unnest($1::integer[], $2::uuid[]) AS w (tenant, id) USING (tenant, id);

-- name: find_holds
-- Holds by key.
SELECT t.* FROM holds t JOIN unnest($1::integer[], $2::uuid[]) AS w (tenant, id) USING (tenant, id);

-- name: find_loans
-- Loans by key.
SELECT t.* FROM loans t JOIN unnest($1::integer[], $2::uuid[]) AS w (tenant, id) USING (tenant, id);

-- name: find_repayments
-- Repayments by key.
SELECT t.* FROM repayments t JOIN unnest($1::integer[], $2::uuid[]) AS w (tenant, id) USING (tenant, id);

-- name: find_exposures
-- Exposures by key.
SELECT t.* FROM exposures t JOIN unnest($1::integer[], $2::uuid[], $3::text[]) AS w (tenant, customer, currency)
    USING (tenant, customer, currency);

-- name: find_customers
-- Customers by key.
SELECT t.* FROM customers t JOIN unnest($1::integer[], $2::uuid[]) AS w (tenant, customer) USING (tenant, customer);

-- name: find_customer_blocks
-- Blocks by key.
SELECT t.* FROM customer_blocks t JOIN unnest($1::integer[], $2::uuid[]) AS w (tenant, block_id)
    USING (tenant, block_id);

-- name: find_decision_standings
-- Standings by key.
SELECT t.* FROM decision_standings t JOIN unnest($1::integer[], $2::uuid[]) AS w (tenant, decision_id)
    USING (tenant, decision_id);

-- name: find_appeals
-- Appeals by key.
SELECT t.* FROM appeals t JOIN unnest($1::integer[], $2::uuid[]) AS w (tenant, appeal_id) USING (tenant, appeal_id);

-- name: find_reversals
-- Reversals by key.
SELECT t.* FROM reversals t JOIN unnest($1::integer[], $2::uuid[]) AS w (tenant, reversal_id)
    USING (tenant, reversal_id);

-- name: find_reversal_steps
-- Steps of reversals by key.
SELECT t.* FROM reversal_steps t JOIN unnest($1::integer[], $2::uuid[], $3::uuid[]) AS w (tenant, reversal_id, offer)
    USING (tenant, reversal_id, offer);

-- name: find_policy_products
-- Products by key.
SELECT t.* FROM policy_products t JOIN unnest($1::integer[], $2::text[]) AS w (tenant, product)
    USING (tenant, product);

-- name: read_tail
-- The next events of the tail of a stream.
SELECT place, type, body FROM tail WHERE stream = $1 AND place > $2 ORDER BY place LIMIT $3;

-- name: make_past_accounts
-- Accounts of a past instant: what the ledger's transfers say of one.
CREATE UNLOGGED TABLE past_accounts (
    tenant integer, id uuid, version bigint, debits_pending bigint, debits_posted bigint, credits_pending bigint,
    credits_posted bigint, position bigint);

-- name: fill_past_accounts
-- The counters of the accounts that had moved by then.
INSERT INTO past_accounts
SELECT tenant, id, version, debits_pending, debits_posted, credits_pending, credits_posted, position
FROM accounts WHERE version > 0;

-- name: release_overdue
-- What was held beyond its time at an instant ($1) counts no more, whether it was released or not.
UPDATE accounts a
SET debits_pending = a.debits_pending - held.debits, credits_pending = a.credits_pending - held.credits
FROM (
    SELECT tenant, account, sum(debits) AS debits, sum(credits) AS credits
    FROM (SELECT tenant, debit_account AS account, amount - captured AS debits, 0 AS credits FROM holds
          WHERE state = 'open' AND expires_at <= $1::timestamptz
          UNION ALL
          SELECT tenant, credit_account, 0, amount - captured FROM holds
          WHERE state = 'open' AND expires_at <= $1::timestamptz) AS side
    GROUP BY tenant, account
) AS held
WHERE held.tenant = a.tenant AND held.account = a.id;

-- name: totals
-- What stood, by tenant, currency and code.
SELECT tenant, currency, code, count(*) AS accounts, sum(debits_posted)::bigint AS debits,
       sum(credits_posted)::bigint AS credits, sum(debits_pending)::bigint AS debits_pending,
       sum(credits_pending)::bigint AS credits_pending
FROM accounts
GROUP BY tenant, currency, code
ORDER BY tenant, currency, code;
