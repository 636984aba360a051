-- What a batch reads and writes to undo what followed from a decision.

-- name: find_loans_of_offers
-- The loans that these offers were booked as.
SELECT l.tenant, l.id, customer, product, currency, principal, fee, term_days, origin, decision_id, effective_at,
       booked_at, principal_paid, fee_paid, closed_at, version, reversal, reversed_by, reversed_at
FROM loans l
JOIN unnest($1::smallint[], $2::integer[], $3::uuid[]) AS wanted (shard, tenant, id)
    ON l.shard = wanted.shard AND l.tenant = wanted.tenant AND l.decision_id = wanted.id
WHERE l.origin = 'offer';

-- name: find_repayments_of_loans
-- The repayments of these loans that were not taken back; of each loan at most $4.
SELECT r.*
FROM unnest($1::text::smallint[], $2::text::integer[], $3::text::uuid[]) AS wanted (shard, tenant, id)
CROSS JOIN LATERAL (
    SELECT tenant, id, loan, amount, fee_part, principal_part, excess, inferred, effective_at, received_at, reversed_by
    FROM repayments
    WHERE shard = wanted.shard AND tenant = wanted.tenant AND loan = wanted.id AND reversed_by IS NULL
    LIMIT $4
) AS r;

-- name: insert_withdrawals
-- Offers that are never booked any more.
INSERT INTO withdrawn_offers (shard, tenant, offer, reversal, withdrawn_at)
SELECT * FROM unnest($1::smallint[], $2::integer[], $3::uuid[], $4::uuid[], $5::timestamptz[]);

-- name: list_open_holds
-- The open holds that a lender calls by one of these references, by their fingerprints ($2) or, where an older version
-- wrote them, in clear ($4); at most $3.
SELECT h.id
FROM notes n
JOIN holds h ON h.shard = n.shard AND h.tenant = n.tenant AND h.id = n.transfer
WHERE n.tenant = $1 AND (n.reference_print = ANY ($2::bytea[]) AND octet_length(n.reference_print) > 0
                         OR n.reference = ANY ($4::text[]))
  AND h.state = 'open'
ORDER BY h.id
LIMIT $3;

-- name: find_loan_of_offer
-- The loan that an offer was booked as.
SELECT id FROM loans WHERE shard = $1 AND tenant = $2 AND decision_id = $3 AND origin = 'offer';
