-- The rows of the live tables as a replay compares them: the columns of `domain/projection/rows.py` in their order.
-- All run in one snapshot of the main database, as the owner of the tables.

-- name: accounts
-- Accounts.
SELECT tenant, id, shard, owner, currency::text, code, normal_side, credit_limit, floor, opened_at, last_posted_at,
       status, frozen_for, debits_pending, debits_posted, credits_pending, credits_posted, version, last_transfer,
       revision, NULL::bigint AS position
FROM transactions.accounts;

-- name: holds
-- Holds.
SELECT tenant, id, shard, debit_account, credit_account, amount, currency::text, code, ttl_s, expires_at, captured,
       state, version, NULL::bigint AS position
FROM transactions.holds;

-- name: transfers
-- Transfers.
SELECT tenant, id, shard, kind, debit_account, credit_account, amount, currency::text, code, effective_on, posted_at,
       original, released, command, debit_version, debit_previous, debit_debits_pending, debit_debits_posted,
       debit_credits_pending, debit_credits_posted, credit_version, credit_previous, credit_debits_pending,
       credit_debits_posted, credit_credits_pending, credit_credits_posted, NULL::bigint AS position
FROM transactions.transfers;

-- name: marks
-- Marks.
SELECT tenant, account, version, shard, transfer, posted_at, NULL::bigint AS position FROM transactions.marks;

-- name: loans
-- Loans.
SELECT tenant, id, shard, customer, product, currency::text, principal, fee, term_days, due_on, origin, decision_id,
       effective_at, booked_at, principal_paid, fee_paid, closed_at, version, reversal, reversed_by, reversed_at,
       NULL::bigint AS position
FROM transactions.loans;

-- name: repayments
-- Repayments.
SELECT tenant, id, shard, loan, amount, fee_part, principal_part, excess, inferred, effective_at, received_at,
       reversed_by, reversal_effective_at, NULL::bigint AS position
FROM transactions.repayments;

-- name: withdrawn_offers
-- Offers that are never booked.
SELECT tenant, offer, shard, reversal, withdrawn_at, NULL::bigint AS position FROM transactions.withdrawn_offers;

-- name: exposures
-- What the control accounts say is owed and may be, with how many loans are open beside them.
SELECT tenant, customer, currency, a.credit_limit, coalesce(a.owed, 0) AS owed,
       coalesce(l.loans_open, 0)::integer AS loans_open, NULL::bigint AS position
FROM (SELECT tenant, owner AS customer, currency::text, credit_limit, debits_posted - credits_posted AS owed
      FROM transactions.accounts WHERE code = 'exposure') AS a
FULL JOIN (SELECT tenant, customer, currency::text, count(*) FILTER (WHERE closed_at IS NULL AND reversed_by IS NULL)
                                                          AS loans_open
           FROM transactions.loans GROUP BY tenant, customer, currency) AS l USING (tenant, customer, currency);

-- name: customers
-- Customers, with the names of the parts of their record that are there, as far as a row tells without its key.
SELECT tenant, customer, facts_version, kyc_tier, blocked,
       ARRAY(SELECT name
             FROM (VALUES ('bank_code', bank_known), ('birth_date', birth_sealed IS NOT NULL),
                          ('bureau', bureau_as_of IS NOT NULL), ('bvn', bvn_token IS NOT NULL),
                          ('employment', employment IS NOT NULL), ('monthly_income', monthly_income IS NOT NULL),
                          ('nin', nin_token IS NOT NULL),
                          ('topups', topups_as_of IS NOT NULL)) AS part (name, there)
             WHERE there ORDER BY name COLLATE "C") AS known,
       consent_terms, consent_bureau, consent_recovery, processing, NULL::bigint AS position
FROM eligibility.customers;

-- name: customer_blocks
-- Blocks.
SELECT tenant, block_id, customer, code, until, placed_by, lifted_by, NULL::bigint AS position
FROM eligibility.customer_blocks;

-- name: decisions
-- Decisions.
SELECT tenant, decision_id, customer, product, amount, currency::text, term_days, terms_fee, as_of, to_borrow, offer_id,
       outcome, policy_version, policy_hash::text, decision, expires_at IS NOT NULL AS is_offer, asked_by,
       NULL::bigint AS position
FROM eligibility.decisions;

-- name: decision_standings
-- Standings; the row that a refused first review leaves says no more than that there is none.
SELECT tenant, decision_id, version, standing, override_id, NULL::bigint AS position
FROM eligibility.decision_standings
WHERE (version, standing) <> (1, 'active') OR override_id IS NOT NULL;

-- name: reviews
-- Reviews.
SELECT tenant, review_id, decision_id, version, kind, standing, outcome, terms, expires_at, offers, actor,
       words_digest::text, reviewed_at, NULL::bigint AS position
FROM eligibility.reviews;

-- name: appeals
-- Appeals.
SELECT tenant, appeal_id, decision_id, state, filed_at, filed_version, resolution_id, NULL::bigint AS position
FROM eligibility.appeals;

-- name: reversals
-- Reversals, with their offers.
SELECT tenant, reversal_id, decision_id, state, undo, begun_at,
       ARRAY(SELECT offer FROM eligibility.reversal_steps s
             WHERE s.tenant = r.tenant AND s.reversal_id = r.reversal_id ORDER BY offer) AS steps,
       over_at, over_version, NULL::bigint AS position
FROM eligibility.reversals r;

-- name: reversal_steps
-- Their steps; of one that runs no more than that it is there, as what moves it on is told in the ledger's events.
SELECT s.tenant, s.reversal_id, s.offer, CASE WHEN r.state <> 'running' THEN s.state END AS state,
       CASE WHEN r.state <> 'running' THEN s.loan END AS loan,
       CASE WHEN r.state <> 'running' THEN s.kept_because END AS kept_because,
       CASE WHEN r.state <> 'running' THEN s.stuck_because END AS stuck_because, NULL::bigint AS position
FROM eligibility.reversal_steps s
LEFT JOIN eligibility.reversals r USING (tenant, reversal_id);

-- name: policies
-- Versions of policies.
SELECT tenant, product, version, hash::text, restores, NULL::bigint AS position FROM eligibility.policies;

-- name: policy_steps
-- Steps.
SELECT tenant, product, version, step, actor, valid_from, NULL::bigint AS position FROM eligibility.policy_steps;

-- name: policy_products
-- Products; the row that a refused first draft leaves says nothing.
SELECT tenant, product, versions, events, told, told_from, NULL::bigint AS position
FROM eligibility.policy_products
WHERE versions > 0;
