-- Reversals with their consequences: what was offered and lent from a decision is undone, step by step.

ALTER TABLE eligibility.decision_standings DROP CONSTRAINT decision_standings_standing_check;
ALTER TABLE eligibility.decision_standings ADD CONSTRAINT decision_standings_standing_check
    CHECK (standing IN ('active', 'overridden', 'reversing', 'reversed'));
ALTER TABLE eligibility.reviews DROP CONSTRAINT reviews_standing_check;
ALTER TABLE eligibility.reviews ADD CONSTRAINT reviews_standing_check
    CHECK (standing IN ('active', 'overridden', 'reversing', 'reversed'));
ALTER TABLE eligibility.reviews DROP CONSTRAINT reviews_kind_check;
ALTER TABLE eligibility.reviews ADD CONSTRAINT reviews_kind_check
    CHECK (kind IN ('override', 'appeal', 'resolution', 'reversal', 'resumption', 'abandonment'));

-- The saga of every reversal that had offers to undo. The review of the same id says who asked and why.
CREATE TABLE eligibility.reversals (
    tenant        integer     NOT NULL,
    reversal_id   uuid        NOT NULL,
    decision_id   uuid        NOT NULL,
    state         text        NOT NULL CHECK (state IN ('running', 'stuck', 'over')),
    undo          bytea       NOT NULL,  -- whether and how loans are undone, as JSON: fixed when it was asked for
    attempts      integer     NOT NULL DEFAULT 0 CHECK (attempts >= 0),  -- to reach the ledger, since it last answered
    due_at        timestamptz NOT NULL,  -- when it is next looked at; whoever takes it moves this on first
    begun_at      timestamptz NOT NULL,
    over_at       timestamptz,
    over_version  bigint,                -- of the decision: that of the event which says that all is undone
    PRIMARY KEY (tenant, reversal_id),
    FOREIGN KEY (tenant, reversal_id) REFERENCES eligibility.reviews,
    -- A decision is reversed once; and how its readers find the reversal.
    UNIQUE (tenant, decision_id),
    CONSTRAINT reversals_over_at_an_instant
        CHECK ((state = 'over') = (over_at IS NOT NULL) AND (over_at IS NULL) = (over_version IS NULL))
);

-- What goes on by itself, longest due first.
CREATE INDEX reversals_due ON eligibility.reversals (due_at) WHERE state = 'running';
-- The work list of people, oldest first, a page at a time.
CREATE INDEX reversals_by_state ON eligibility.reversals (tenant, state, begun_at, reversal_id);

-- One step for each offer of the decision.
CREATE TABLE eligibility.reversal_steps (
    tenant         integer NOT NULL,
    reversal_id    uuid    NOT NULL,
    offer          uuid    NOT NULL,
    state          text    NOT NULL CHECK (state IN ('withdrawing', 'reversing', 'abandoning',
                                                     'unbooked', 'kept', 'reversed', 'unknown')),
    loan           uuid,     -- that it was booked as
    kept_because   text,
    stuck_because  text,     -- the ledger's reason, until a person has looked at it
    refusals       integer NOT NULL CHECK (refusals >= 0),  -- part of the next command's id
    PRIMARY KEY (tenant, reversal_id, offer),
    FOREIGN KEY (tenant, reversal_id) REFERENCES eligibility.reversals,
    CONSTRAINT reversal_steps_a_loan_is_kept_for_a_reason CHECK ((state = 'kept') = (kept_because IS NOT NULL)),
    CONSTRAINT reversal_steps_an_undone_loan_is_named
        CHECK (loan IS NOT NULL OR state NOT IN ('reversing', 'abandoning', 'kept', 'reversed'))
);

GRANT SELECT, INSERT, UPDATE ON eligibility.reversals, eligibility.reversal_steps TO amana_eligibility;
