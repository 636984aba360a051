-- The statements of reversals and their steps. Names are unqualified: search_path decides.

-- name: insert_reversal
-- A reversal begins, at the instant of its review; it is due at once.
INSERT INTO reversals (tenant, reversal_id, decision_id, state, undo, due_at, begun_at)
VALUES ($1, $2, $3, 'running', $4, $5, $5);

-- name: insert_steps
-- One step for each offer.
INSERT INTO reversal_steps (tenant, reversal_id, offer, state, refusals)
SELECT $1, $2, offer, 'withdrawing', 0 FROM unnest($3::uuid[]) AS o (offer);

-- name: claim_due
-- Takes what is due for $2 seconds, so that nobody else does; a taker that dies is followed by another then.
UPDATE reversals r
SET due_at = clock_timestamp() + make_interval(secs => $2), attempts = r.attempts + 1
FROM (
    SELECT tenant, reversal_id FROM reversals
    WHERE state = 'running' AND due_at <= clock_timestamp()
    ORDER BY due_at
    LIMIT $1
    FOR NO KEY UPDATE SKIP LOCKED
) AS due
WHERE r.tenant = due.tenant AND r.reversal_id = due.reversal_id
RETURNING r.tenant, r.reversal_id;

-- name: find_reversal
-- A reversal with what the ledger must be told of its decision, and its age by the one clock.
SELECT r.tenant, r.reversal_id, r.decision_id, d.customer, d.product, d.currency, r.state, r.undo, r.attempts,
       r.begun_at, r.over_at, clock_timestamp() - r.begun_at AS age
FROM reversals r
JOIN decisions d USING (tenant, decision_id)
WHERE r.tenant = $1 AND r.reversal_id = $2;

-- name: find_reversal_of
-- The reversal of a decision, where it had something to undo.
SELECT r.tenant, r.reversal_id, r.decision_id, d.customer, d.product, d.currency, r.state, r.undo, r.attempts,
       r.begun_at, r.over_at, clock_timestamp() - r.begun_at AS age
FROM reversals r
JOIN decisions d USING (tenant, decision_id)
WHERE r.tenant = $1 AND r.decision_id = $2;

-- name: list_reversals
-- Reversals in one state, oldest first, from after the one that the cursor names.
SELECT r.tenant, r.reversal_id, r.decision_id, d.customer, d.product, d.currency, r.state, r.undo, r.attempts,
       r.begun_at, r.over_at, clock_timestamp() - r.begun_at AS age
FROM reversals r
JOIN decisions d USING (tenant, decision_id)
WHERE r.tenant = $1 AND r.state = $2
  AND (r.begun_at, r.reversal_id) >
      (coalesce((SELECT begun_at FROM reversals c WHERE c.tenant = $1 AND c.reversal_id = $3), '-infinity'), $3)
ORDER BY r.begun_at, r.reversal_id
LIMIT $4;

-- name: list_steps
-- The steps of these reversals.
SELECT reversal_id, offer, state, loan, kept_because, stuck_because, refusals
FROM reversal_steps
WHERE tenant = $1 AND reversal_id = ANY ($2::uuid[])
ORDER BY reversal_id, offer;

-- name: change_step
-- A step moves on, unless somebody else moved it on before.
UPDATE reversal_steps
SET state = $6, loan = $7, kept_because = $8, stuck_because = $9, refusals = $10
WHERE tenant = $1 AND reversal_id = $2 AND offer = $3 AND state = $4 AND refusals = $5 AND stuck_because IS NULL;

-- name: set_step
-- A person has a step that is not over go on, or gives it up; its reversal is locked.
UPDATE reversal_steps SET state = $4, stuck_because = NULL WHERE tenant = $1 AND reversal_id = $2 AND offer = $3;

-- name: set_state
-- How a reversal goes on; what the ledger answered ends the count of attempts. Over: when, and at which version
-- of the decision, as its event says.
UPDATE reversals
SET state = $3, attempts = 0, due_at = clock_timestamp() + make_interval(secs => $4),
    over_at = $5, over_version = $6
WHERE tenant = $1 AND reversal_id = $2;

-- name: postpone
-- The ledger could not be asked: later, unless somebody settled it meanwhile.
UPDATE reversals
SET due_at = clock_timestamp() + make_interval(secs => $3)
WHERE tenant = $1 AND reversal_id = $2 AND state = 'running';

-- name: stick_steps
-- Nobody reached the ledger for too long: a person is to look.
UPDATE reversal_steps SET stuck_because = $3
WHERE tenant = $1 AND reversal_id = $2 AND state IN ('withdrawing', 'reversing', 'abandoning')
  AND stuck_because IS NULL;

-- name: move_version
-- The decision's next version and standing: of an event that is no review.
UPDATE decision_standings SET version = version + 1, standing = $3 WHERE tenant = $1 AND decision_id = $2
RETURNING version;

-- name: read_clock
-- The database's clock.
SELECT clock_timestamp();
