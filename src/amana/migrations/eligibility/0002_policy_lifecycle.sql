-- A policy's life: drafted (and found to have no fault), approved by the owner of another key, live from an instant on,
-- until another is. Nothing is updated: a step is a row, and what is live follows from the steps and the clock.

-- One row a product. Locked by every step of its policies: versions have no gaps, and steps one order.
CREATE TABLE eligibility.policy_products (
    tenant     integer     NOT NULL,
    product    text        NOT NULL,
    versions   integer     NOT NULL DEFAULT 0 CHECK (versions >= 0),  -- how many there are: the last one's number
    events     bigint      NOT NULL DEFAULT 0 CHECK (events >= 0),    -- how many events told of them
    -- The start that was told last, and the next one to tell; null where there is none.
    told       integer,
    told_from  timestamptz,
    due_at     timestamptz,
    PRIMARY KEY (tenant, product),
    FOREIGN KEY (tenant, product, told) REFERENCES eligibility.policies,
    CONSTRAINT policy_products_told_from_when CHECK ((told IS NULL) = (told_from IS NULL))
);

-- "Which starts are due", asked every second. Few products have one ahead.
CREATE INDEX policy_products_due ON eligibility.policy_products (due_at, tenant, product) WHERE due_at IS NOT NULL;

-- What a client asked for under an id of its choice, and what came of it; what was refused is not here.
CREATE TABLE eligibility.policy_steps (
    tenant      integer     NOT NULL,
    id          uuid        NOT NULL,
    product     text        NOT NULL,
    version     integer     NOT NULL,
    step        text        NOT NULL CHECK (step IN ('drafted', 'approved', 'withdrawn')),
    actor       text        NOT NULL,
    taken_at    timestamptz NOT NULL,
    asked_from  timestamptz,  -- the start that was asked for; null is "at once"
    valid_from  timestamptz,  -- the start
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, product, version) REFERENCES eligibility.policies,
    -- Two keys that approve at the same time, or approve and withdraw one version twice, meet here at the latest.
    CONSTRAINT policy_steps_once UNIQUE (tenant, product, version, step),
    CONSTRAINT policy_steps_only_approved_start
        CHECK ((valid_from IS NOT NULL) = (step = 'approved') AND (asked_from IS NULL OR step = 'approved'))
);

-- "The approved version with the latest start that is over", asked for every batch of checks.
CREATE INDEX policy_steps_by_start ON eligibility.policy_steps (tenant, product, valid_from DESC, version DESC)
    WHERE step = 'approved';

-- What was published before there were steps was drafted and approved in one.
INSERT INTO eligibility.policy_steps (tenant, id, product, version, step, actor, taken_at, valid_from)
SELECT tenant, gen_random_uuid(), product, version, step, published_by, published_at,
       CASE step WHEN 'approved' THEN published_at END
FROM eligibility.policies, unnest(ARRAY['drafted', 'approved']) AS step;

INSERT INTO eligibility.policy_products (tenant, product, versions, events, told, told_from)
SELECT tenant, product, version, version, version, published_at
FROM eligibility.live_policies JOIN eligibility.policies USING (tenant, product, version);

DROP TABLE eligibility.live_policies;

ALTER TABLE eligibility.policies
    DROP COLUMN published_by,
    DROP COLUMN published_at,
    ADD COLUMN restores integer,  -- the earlier version that had this document when it was live: a rollback
    ADD FOREIGN KEY (tenant, product, restores) REFERENCES eligibility.policies;

-- Which version decides now, by this database's clock: of those that started, the one that did so last.
CREATE VIEW eligibility.live_policies AS
SELECT products.tenant, products.product, live.version
FROM eligibility.policy_products AS products
CROSS JOIN LATERAL (
    SELECT approved.version
    FROM eligibility.policy_steps AS approved
    WHERE approved.tenant = products.tenant AND approved.product = products.product AND approved.step = 'approved'
      AND approved.valid_from <= statement_timestamp()
      AND NOT EXISTS (
          SELECT FROM eligibility.policy_steps AS withdrawn
          WHERE withdrawn.tenant = approved.tenant AND withdrawn.product = approved.product
            AND withdrawn.version = approved.version AND withdrawn.step = 'withdrawn')
    ORDER BY approved.valid_from DESC, approved.version DESC
    LIMIT 1
) AS live;

-- Every version with what became of it.
CREATE VIEW eligibility.policy_versions AS
SELECT policies.tenant, policies.product, policies.version, policies.hash, policies.restores,
       drafted.actor AS drafted_by, drafted.taken_at AS drafted_at,
       approved.actor AS approved_by, approved.taken_at AS approved_at, approved.valid_from,
       withdrawn.actor AS withdrawn_by, withdrawn.taken_at AS withdrawn_at
FROM eligibility.policies
JOIN eligibility.policy_steps AS drafted
    ON (drafted.tenant, drafted.product, drafted.version, drafted.step)
     = (policies.tenant, policies.product, policies.version, 'drafted')
LEFT JOIN eligibility.policy_steps AS approved
    ON (approved.tenant, approved.product, approved.version, approved.step)
     = (policies.tenant, policies.product, policies.version, 'approved')
LEFT JOIN eligibility.policy_steps AS withdrawn
    ON (withdrawn.tenant, withdrawn.product, withdrawn.version, withdrawn.step)
     = (policies.tenant, policies.product, policies.version, 'withdrawn');

CREATE TRIGGER policy_steps_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON eligibility.policy_steps
    FOR EACH STATEMENT EXECUTE FUNCTION eligibility.refuse_change();

GRANT SELECT, INSERT ON eligibility.policy_steps TO amana_eligibility;
GRANT SELECT, INSERT, UPDATE ON eligibility.policy_products TO amana_eligibility;
GRANT SELECT ON eligibility.live_policies, eligibility.policy_versions TO amana_eligibility;
