-- The statements of the eligibility service. Names are unqualified: search_path decides.


-- name: find_decisions
-- Recorded decisions by id, in one read.
SELECT tenant, decision_id, customer, product, amount, currency, term_days, terms_fee, as_of, to_borrow, offer_id,
       policy_version, policy_hash, inputs, assessment, decision, decided_at, expires_at
FROM decisions
JOIN unnest($1::integer[], $2::uuid[]) AS wanted (tenant, decision_id) USING (tenant, decision_id);

-- name: find_offer
-- An offer with the newest decision on it, and how old that is, by the one clock that judges expiry.
SELECT offer.tenant, offer.decision_id, offer.customer, offer.product, offer.amount, offer.currency, offer.decision,
       offer.inputs,
       offer.decided_at AS offered_at, offer.expires_at, offer.expires_at <= clock_timestamp() AS expired,
       newest.decision_id AS newest_id, newest.as_of, newest.inputs AS newest_inputs, newest.assessment AS newest_assessment,
       newest.decision AS newest_decision, newest.decided_at, coalesce(s.standing, 'active') AS standing, s.override_id,
       (SELECT processing FROM customers c
        WHERE c.tenant = offer.tenant AND c.customer = offer.customer) AS processing,
       (extract(epoch FROM clock_timestamp() - newest.decided_at) * 1000)::bigint AS age_ms
FROM decisions AS offer
CROSS JOIN LATERAL (
    SELECT decision_id, as_of, inputs, assessment, decision, decided_at
    FROM (
        SELECT * FROM decisions AS again WHERE again.tenant = offer.tenant AND again.offer_id = offer.decision_id
        UNION ALL
        SELECT offer.*
    ) AS every
    ORDER BY decided_at DESC, decision_id DESC
    LIMIT 1
) AS newest
LEFT JOIN decision_standings s ON s.tenant = offer.tenant AND s.decision_id = offer.decision_id
WHERE offer.tenant = $1 AND offer.decision_id = $2 AND offer.expires_at IS NOT NULL;

-- name: record_decisions
-- Records decisions, each with its event ($20, $21), in one statement and so in one transaction. An id that is taken is
-- passed over: it does not come back, and nothing is told of it.
WITH stored AS (
    INSERT INTO decisions (tenant, decision_id, customer, product, amount, currency, term_days, terms_fee, as_of,
                           to_borrow, offer_id, outcome, policy_version, policy_hash, inputs, assessment, decision,
                           decided_at, expires_at, asked_by)
    SELECT tenant, decision_id, customer, product, amount, currency, term_days, terms_fee, as_of,
           to_borrow, offer_id, outcome, policy_version, policy_hash, inputs, assessment, decision,
           statement_timestamp(),
           CASE WHEN to_borrow AND outcome = 'approve'
                THEN statement_timestamp() + make_interval(secs => offer_ttl_s) END,
           asked_by
    FROM unnest($1::text::integer[], $2::text::uuid[], $3::text::uuid[], $4::text::text[], $5::text::bigint[],
                $6::text::text[], $7::text::integer[], $8::text::bigint[], $9::text::timestamptz[],
                $10::text::boolean[], $11::text::uuid[], $12::text::text[], $13::text::integer[], $14::text::text[],
                $15::bytea[], $16::bytea[], $17::bytea[], $18::text::integer[], $19::text::text[])
         AS made (tenant, decision_id, customer, product, amount, currency, term_days, terms_fee, as_of, to_borrow,
                  offer_id, outcome, policy_version, policy_hash, inputs, assessment, decision, offer_ttl_s, asked_by)
    ORDER BY tenant, decision_id
    ON CONFLICT (tenant, decision_id) DO NOTHING
    RETURNING tenant, decision_id, decided_at, expires_at
), told AS (
    INSERT INTO outbox (tenant, event_id, aggregate_id, type, body)
    SELECT tenant, event_id, decision_id, 'DecisionMade', body
    FROM stored
    JOIN unnest($1::text::integer[], $2::text::uuid[], $20::text::uuid[], $21::bytea[])
         AS event (tenant, decision_id, event_id, body) USING (tenant, decision_id)
)
SELECT tenant, decision_id, decided_at, expires_at FROM stored;
