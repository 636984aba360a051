-- Legal holds on customers: while one stands, the customer's key is not destroyed. They are beside the keys, so that one
-- transaction sees both, and a restore of the main database forgets none.

CREATE TABLE vault.legal_holds (
    tenant          integer     NOT NULL,
    hold_id         uuid        NOT NULL,
    customer        uuid        NOT NULL,
    reason          text        NOT NULL CHECK (reason ~ '^[a-z][a-z0-9_]{0,39}$'),  -- a code: no free text
    placed_by       text        NOT NULL,  -- the key's id
    placed_for      text        NOT NULL,  -- who had it done, as they are known to the lender
    placed_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    release_reason  text        CHECK (release_reason ~ '^[a-z][a-z0-9_]{0,39}$'),
    released_by     text,
    released_for    text,
    released_at     timestamptz,
    -- Steps whose events are in eligibility's outbox: 1 once it is told that the hold was placed, 2 that it was released.
    told            smallint    NOT NULL DEFAULT 0,
    told_as         uuid        NOT NULL,  -- the id of the last step's event
    told_after      bigint      NOT NULL,  -- that event comes after this row of the outbox
    -- A hold has the id that its client chose: the same id again is the same hold.
    PRIMARY KEY (tenant, hold_id),
    CONSTRAINT legal_holds_release_is_whole
        CHECK (num_nonnulls(release_reason, released_by, released_for, released_at) IN (0, 4)),
    CONSTRAINT legal_holds_tell_what_happened CHECK (told BETWEEN 0 AND 1 + (released_at IS NOT NULL)::integer)
);

-- "Does a hold keep this customer", asked before every destruction, and a customer's holds in order of their ids.
CREATE INDEX legal_holds_of_customer ON vault.legal_holds (tenant, customer, hold_id);

-- "Which customers are held", asked before bodies of the audit log are dropped.
CREATE INDEX legal_holds_standing ON vault.legal_holds (tenant, customer) WHERE released_at IS NULL;

-- "What was not told yet", asked every few seconds; hardly ever is a row in it.
CREATE INDEX legal_holds_untold ON vault.legal_holds (tenant, hold_id)
    WHERE told < 1 + (released_at IS NOT NULL)::integer;

GRANT SELECT, INSERT ON vault.legal_holds TO amana_eligibility;
GRANT UPDATE (release_reason, released_by, released_for, released_at, told, told_as, told_after)
    ON vault.legal_holds TO amana_eligibility;
