-- The statements of reviews. Names are unqualified: search_path decides.

-- name: lock_standing
-- The row of a decision's standing, made at its first review, locked until the review commits. Read after it.
INSERT INTO decision_standings AS s (tenant, decision_id) VALUES ($1, $2)
ON CONFLICT (tenant, decision_id) DO UPDATE SET version = s.version;

-- name: find_case
-- A decision with the state in which its reviews left it.
SELECT d.tenant, d.decision_id, d.customer, d.product, d.currency, d.asked_by, d.offer_id AS confirms,
       coalesce(o.outcome, d.outcome) AS outcome, d.inputs, d.assessment, d.term_days, s.version, s.standing,
       s.override_id,
       (SELECT appeal_id FROM appeals a
        WHERE a.tenant = d.tenant AND a.decision_id = d.decision_id AND a.state = 'open') AS open_appeal,
       ARRAY(SELECT d.decision_id WHERE d.expires_at IS NOT NULL) ||
       ARRAY(SELECT review_id FROM reviews r
             WHERE r.tenant = d.tenant AND r.decision_id = d.decision_id AND r.expires_at IS NOT NULL
             ORDER BY r.version) AS offers
FROM decisions d
JOIN decision_standings s USING (tenant, decision_id)
LEFT JOIN reviews o ON o.tenant = s.tenant AND o.review_id = s.override_id
WHERE d.tenant = $1 AND d.decision_id = $2;

-- name: find_review
-- One review by its id, with what a person wrote where that was not erased.
SELECT tenant, review_id, decision_id, version, kind, asked, standing, outcome, terms, expires_at, offers, actor,
       words_digest, reviewed_at, customer, sealed
FROM reviews LEFT JOIN review_words USING (tenant, review_id)
WHERE tenant = $1 AND review_id = $2;

-- name: list_reviews
-- The newest reviews of a decision, in their order.
SELECT *
FROM (
    SELECT tenant, review_id, decision_id, version, kind, asked, standing, outcome, terms, expires_at, offers, actor,
           words_digest, reviewed_at, customer, sealed
    FROM reviews LEFT JOIN review_words USING (tenant, review_id)
    WHERE tenant = $1 AND decision_id = $2
    ORDER BY version DESC
    LIMIT $3
) newest
ORDER BY version;

-- name: find_customer
-- Whom a decision is about.
SELECT customer FROM decisions WHERE tenant = $1 AND decision_id = $2;

-- name: is_decision
-- Whether an id was used for a decision: a review may not have it.
SELECT EXISTS (SELECT FROM decisions WHERE tenant = $1 AND decision_id = $2);

-- name: insert_review
-- Records a review, after the lock; its instant, and the end of its offer if it is one.
INSERT INTO reviews (tenant, review_id, decision_id, version, kind, asked, standing, outcome, terms, expires_at,
                     offers, actor, words_digest, reviewed_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, statement_timestamp() + make_interval(secs => $10::integer), $11, $12, $13,
        statement_timestamp())
RETURNING reviewed_at, expires_at;

-- name: insert_words
-- Keeps what a person wrote, apart and sealed.
INSERT INTO review_words (tenant, review_id, customer, sealed) VALUES ($1, $2, $3, $4);

-- name: set_standing
-- How the decision stands from now on. Without an override of its own a review leaves the newest one.
UPDATE decision_standings
SET version = $3, standing = $4, override_id = coalesce($5, override_id)
WHERE tenant = $1 AND decision_id = $2;

-- name: find_standing
-- How a decision stands; no row before its first review.
SELECT version, standing, override_id FROM decision_standings WHERE tenant = $1 AND decision_id = $2;

-- name: insert_appeal
-- An open appeal, filed at the instant of its review.
INSERT INTO appeals (tenant, appeal_id, decision_id, state, filed_at, filed_version)
VALUES ($1, $2, $3, 'open', $4, $5);

-- name: resolve_appeal
-- The appeal is answered.
UPDATE appeals SET state = 'resolved', resolution_id = $3 WHERE tenant = $1 AND appeal_id = $2;

-- name: find_appeal
-- One appeal, with the version of its decision when it was filed.
SELECT decision_id, filed_version FROM appeals WHERE tenant = $1 AND appeal_id = $2;

-- name: changed_since
-- Whether an override or reversal of the decision with this id was made after that version of it.
SELECT EXISTS (
    SELECT FROM reviews
    WHERE tenant = $1 AND review_id = $2 AND decision_id = $3 AND version > $4 AND kind IN ('override', 'reversal')
);

-- name: list_appeals
-- Appeals in one state, oldest first, from after the one that the cursor names.
SELECT a.appeal_id, a.decision_id, d.customer, d.product, a.state, a.filed_at, a.resolution_id, r.outcome AS resolution,
       w.sealed
FROM appeals a
JOIN decisions d USING (tenant, decision_id)
LEFT JOIN reviews r ON r.tenant = a.tenant AND r.review_id = a.resolution_id
LEFT JOIN review_words w ON w.tenant = a.tenant AND w.review_id = a.appeal_id
WHERE a.tenant = $1 AND a.state = $2
  AND (a.filed_at, a.appeal_id) >
      (coalesce((SELECT filed_at FROM appeals c WHERE c.tenant = $1 AND c.appeal_id = $3), '-infinity'), $3)
ORDER BY a.filed_at, a.appeal_id
LIMIT $4;

-- name: find_override_offer
-- An override's offer with the newest decision on it, if any, and how old that is, by the one clock.
SELECT r.review_id, r.decision_id, d.customer, d.product, d.currency, d.inputs, r.terms, r.expires_at,
       r.expires_at <= clock_timestamp() AS expired, s.standing, s.override_id,
       (SELECT processing FROM customers c WHERE c.tenant = d.tenant AND c.customer = d.customer) AS processing,
       newest.decision_id AS newest_id, newest.as_of, newest.inputs AS newest_inputs, newest.assessment AS newest_assessment,
       newest.decision AS newest_decision, newest.decided_at,
       (extract(epoch FROM clock_timestamp() - newest.decided_at) * 1000)::bigint AS age_ms
FROM reviews r
JOIN decisions d USING (tenant, decision_id)
JOIN decision_standings s USING (tenant, decision_id)
LEFT JOIN LATERAL (
    SELECT decision_id, as_of, inputs, assessment, decision, decided_at
    FROM decisions AS again
    WHERE again.tenant = r.tenant AND again.offer_id = r.review_id
    ORDER BY decided_at DESC, decision_id DESC
    LIMIT 1
) AS newest ON true
WHERE r.tenant = $1 AND r.review_id = $2 AND r.expires_at IS NOT NULL;

-- name: find_overridden
-- The decision that an approving override with this id overrode.
SELECT decision_id FROM reviews WHERE tenant = $1 AND review_id = $2 AND expires_at IS NOT NULL;

-- name: count_reviews
-- How many reviews a decision has had.
SELECT count(*) FROM reviews WHERE tenant = $1 AND decision_id = $2;
