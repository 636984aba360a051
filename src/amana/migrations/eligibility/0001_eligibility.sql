-- Customers, policies, decisions and the outbox of the eligibility service.
-- Every key begins with the tenant. Amounts are minor units.

CREATE SCHEMA IF NOT EXISTS eligibility;

-- What the lender says of a customer. Personal data (birth date, phone, bank) is here and nowhere else.
CREATE TABLE eligibility.customers (
    tenant          integer     NOT NULL,
    customer        uuid        NOT NULL,
    facts_version   bigint      NOT NULL CHECK (facts_version > 0),
    kyc_tier        smallint    NOT NULL CHECK (kyc_tier BETWEEN 1 AND 3),
    birth_date      date,
    employment      text,
    monthly_income  bigint      CHECK (monthly_income BETWEEN 0 AND 9007199254740991),
    bank_code       text,
    phone           text,
    blocked         boolean     NOT NULL,
    recorded_at     timestamptz NOT NULL,
    PRIMARY KEY (tenant, customer)
);

-- Every published version, for ever: a decision names its policy's hash and the document must be found again.
CREATE TABLE eligibility.policies (
    tenant        integer     NOT NULL,
    product       text        NOT NULL,
    version       integer     NOT NULL CHECK (version > 0),
    hash          char(64)    NOT NULL,
    document      bytea       NOT NULL,  -- the canonical bytes that the hash names
    published_by  text        NOT NULL,
    published_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant, product, version),
    CONSTRAINT policies_hash_names_document CHECK (hash = encode(sha256(document), 'hex'))
);

-- Which version decides now. Its row is locked while another is published, so that versions have no gaps.
CREATE TABLE eligibility.live_policies (
    tenant   integer NOT NULL,
    product  text    NOT NULL,
    version  integer NOT NULL,
    PRIMARY KEY (tenant, product),
    FOREIGN KEY (tenant, product, version) REFERENCES eligibility.policies
);

CREATE TABLE eligibility.decisions (
    tenant          integer     NOT NULL,
    decision_id     uuid        NOT NULL,
    -- The request, field by field: the same id with another field is refused, naming it.
    customer        uuid        NOT NULL,
    product         text        NOT NULL,
    amount          bigint      NOT NULL CHECK (amount BETWEEN 1 AND 9007199254740991),
    currency        char(3)     NOT NULL,
    term_days       integer,
    terms_fee       bigint      CHECK (terms_fee BETWEEN 0 AND 9007199254740991),
    as_of           timestamptz,           -- the past instant that was asked about; null is "now"
    to_borrow       boolean     NOT NULL,  -- asked for with an id of the client's: may become an offer
    -- The offer that this decision looked at again before it was booked; null for a first decision.
    offer_id        uuid,
    outcome         text        NOT NULL CHECK (outcome IN ('approve', 'refer', 'decline')),
    policy_version  integer     NOT NULL,
    policy_hash     char(64)    NOT NULL,
    -- Canonical JSON. The same inputs under the same policy give the other two again, byte for byte.
    inputs          bytea       NOT NULL,
    assessment      bytea       NOT NULL,
    decision        bytea       NOT NULL,
    decided_at      timestamptz NOT NULL,
    expires_at      timestamptz,           -- of the offer, by the database's clock; null where there is none
    PRIMARY KEY (tenant, decision_id),
    CONSTRAINT decisions_only_approved_are_offers
        CHECK ((expires_at IS NOT NULL) = (outcome = 'approve' AND to_borrow))
);

-- "The newest decision on this offer", asked before each booking. Few decisions have one.
CREATE INDEX decisions_of_offer ON eligibility.decisions (tenant, offer_id, decided_at) WHERE offer_id IS NOT NULL;

CREATE TABLE eligibility.outbox (
    seq           bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid           xid8    NOT NULL DEFAULT pg_current_xact_id(),
    tenant        integer NOT NULL,
    event_id      uuid    NOT NULL,
    aggregate_id  uuid    NOT NULL,
    type          text    NOT NULL,
    body          bytea   NOT NULL  -- the very bytes that the audit log hashes
);

-- The relay reads what became visible since its last snapshot.
CREATE INDEX outbox_by_xid ON eligibility.outbox (xid);

CREATE TABLE eligibility.positions (
    position  bigint PRIMARY KEY,
    seq       bigint NOT NULL UNIQUE  -- an event gets one position, whatever two relays do
);

CREATE TABLE eligibility.stream (
    stream         text        PRIMARY KEY,
    since          pg_snapshot NOT NULL,
    until          pg_snapshot,
    after_seq      bigint      NOT NULL DEFAULT 0,
    last_position  bigint      NOT NULL DEFAULT -1,
    published      bigint      NOT NULL DEFAULT -1,
    leader         uuid,
    term           bigint      NOT NULL DEFAULT 0,
    lease_until    timestamptz
);

-- The snapshot in which nothing is visible: every event is new to the relay.
INSERT INTO eligibility.stream (stream, since) VALUES ('eligibility', '1:1:');

-- What was decided, published or said is never changed, not even by the owner of the tables.
CREATE FUNCTION eligibility.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER policies_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON eligibility.policies
    FOR EACH STATEMENT EXECUTE FUNCTION eligibility.refuse_change();
CREATE TRIGGER decisions_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON eligibility.decisions
    FOR EACH STATEMENT EXECUTE FUNCTION eligibility.refuse_change();
CREATE TRIGGER outbox_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON eligibility.outbox
    FOR EACH STATEMENT EXECUTE FUNCTION eligibility.refuse_change();
CREATE TRIGGER positions_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON eligibility.positions
    FOR EACH STATEMENT EXECUTE FUNCTION eligibility.refuse_change();

GRANT USAGE ON SCHEMA eligibility TO amana_eligibility, amana_relay;
GRANT SELECT, INSERT ON eligibility.policies, eligibility.decisions, eligibility.outbox TO amana_eligibility;
GRANT SELECT, INSERT, UPDATE ON eligibility.customers, eligibility.live_policies TO amana_eligibility;
GRANT SELECT ON eligibility.stream, eligibility.positions TO amana_eligibility;
GRANT SELECT ON eligibility.outbox TO amana_relay;
GRANT SELECT, INSERT ON eligibility.positions TO amana_relay;
GRANT SELECT, UPDATE ON eligibility.stream TO amana_relay;
