-- Reviews: what people did about a decision after it was made. The decision itself never changes.

-- Whose key asked for a decision: that key may not judge it. Its event has always said so.
ALTER TABLE eligibility.decisions ADD COLUMN asked_by text;
ALTER TABLE eligibility.decisions DISABLE TRIGGER decisions_append_only;
UPDATE eligibility.decisions d
SET asked_by = convert_from(o.body, 'UTF8')::jsonb ->> 'actor'
FROM eligibility.outbox o
WHERE o.type = 'DecisionMade' AND o.tenant = d.tenant AND o.aggregate_id = d.decision_id;
ALTER TABLE eligibility.decisions ENABLE TRIGGER decisions_append_only;
ALTER TABLE eligibility.decisions ALTER COLUMN asked_by SET NOT NULL;

-- How a decision stands now. Its row is there from the first review on, and is locked by every further one.
CREATE TABLE eligibility.decision_standings (
    tenant       integer NOT NULL,
    decision_id  uuid    NOT NULL,
    version      bigint  NOT NULL DEFAULT 1 CHECK (version > 0),  -- of the decision: 1 when made, one more a review
    standing     text    NOT NULL DEFAULT 'active' CHECK (standing IN ('active', 'overridden', 'reversed')),
    override_id  uuid,                                            -- the newest override; of a reversed one, the last
    PRIMARY KEY (tenant, decision_id),
    FOREIGN KEY (tenant, decision_id) REFERENCES eligibility.decisions,
    CONSTRAINT decision_standings_override_is_named CHECK (standing <> 'overridden' OR override_id IS NOT NULL)
);

-- Every review for ever, of a decision in the order of its versions.
CREATE TABLE eligibility.reviews (
    tenant        integer     NOT NULL,
    review_id     uuid        NOT NULL,
    decision_id   uuid        NOT NULL,
    version       bigint      NOT NULL CHECK (version > 1),  -- of the decision after it
    kind          text        NOT NULL CHECK (kind IN ('override', 'appeal', 'resolution', 'reversal')),
    asked         bytea       NOT NULL,  -- the request's fields as JSON, but for what a person wrote
    standing      text        NOT NULL CHECK (standing IN ('active', 'overridden', 'reversed')),  -- after it
    outcome       text,                  -- of an override: approve, decline; of a resolution: upheld, changed
    terms         bytea,                 -- of an approving override, as JSON: amount, caps, price, what it overruled
    expires_at    timestamptz,           -- of an approving override's offer, by the database's clock
    offers        uuid[],                -- of a reversal: the offers that it withdrew
    actor         text        NOT NULL,  -- the key's id
    words_digest  char(64)    NOT NULL,  -- SHA-256 over a salt and what a person wrote
    reviewed_at   timestamptz NOT NULL,
    PRIMARY KEY (tenant, review_id),
    FOREIGN KEY (tenant, decision_id) REFERENCES eligibility.decisions,
    -- "The reviews of this decision in order"; and two reviews never have one place in it.
    UNIQUE (tenant, decision_id, version),
    CONSTRAINT reviews_only_approving_overrides_are_offers
        CHECK ((kind = 'override' AND outcome = 'approve') = (expires_at IS NOT NULL)),
    CONSTRAINT reviews_an_offer_has_terms CHECK ((expires_at IS NULL) = (terms IS NULL))
);

-- Names and free text of reviews, apart so that they can be erased.
CREATE TABLE eligibility.review_words (
    tenant     integer NOT NULL,
    review_id  uuid    NOT NULL,
    reviewer   text,            -- who judged; of an appeal it is the customer who speaks
    reason     text    NOT NULL,
    salt       bytea   NOT NULL,
    PRIMARY KEY (tenant, review_id),
    FOREIGN KEY (tenant, review_id) REFERENCES eligibility.reviews
);

-- The state of every appeal: the work list of those who judge.
CREATE TABLE eligibility.appeals (
    tenant         integer     NOT NULL,
    appeal_id      uuid        NOT NULL,
    decision_id    uuid        NOT NULL,
    state          text        NOT NULL CHECK (state IN ('open', 'resolved')),
    filed_at       timestamptz NOT NULL,
    filed_version  bigint      NOT NULL,  -- of the decision: what changed it since has a higher one
    resolution_id  uuid,
    PRIMARY KEY (tenant, appeal_id),
    FOREIGN KEY (tenant, appeal_id) REFERENCES eligibility.reviews,
    CONSTRAINT appeals_resolved_by_something CHECK ((state = 'resolved') = (resolution_id IS NOT NULL))
);

-- One open appeal a decision; and how it is found.
CREATE UNIQUE INDEX appeals_open_of_decision ON eligibility.appeals (tenant, decision_id) WHERE state = 'open';
-- The work list, oldest first, a page at a time.
CREATE INDEX appeals_by_state ON eligibility.appeals (tenant, state, filed_at, appeal_id);

CREATE TRIGGER reviews_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON eligibility.reviews
    FOR EACH STATEMENT EXECUTE FUNCTION eligibility.refuse_change();

GRANT SELECT, INSERT ON eligibility.reviews, eligibility.review_words TO amana_eligibility;
GRANT SELECT, INSERT, UPDATE ON eligibility.decision_standings, eligibility.appeals TO amana_eligibility;
