-- The ledger, loans and the outbox of the transactions service.
-- Every key begins with the ledger shard, then the tenant. Amounts are minor units; counters only grow.

CREATE TABLE transactions.accounts (
    shard            smallint    NOT NULL,
    tenant           integer     NOT NULL,
    id               uuid        NOT NULL,
    owner            uuid        NOT NULL,
    currency         char(3)     NOT NULL,
    code             text        NOT NULL,
    normal_side      text        NOT NULL CHECK (normal_side IN ('debit', 'credit')),
    credit_limit     bigint      CHECK (credit_limit BETWEEN 0 AND 9007199254740991),
    status           text        NOT NULL CHECK (status IN ('open', 'frozen', 'closed')),
    -- The limit itself is held under the row lock, not by a CHECK: a lowered limit or a returned repayment may
    -- leave an account above it.
    debits_pending   bigint      NOT NULL CHECK (debits_pending BETWEEN 0 AND 9007199254740991),
    debits_posted    bigint      NOT NULL CHECK (debits_posted BETWEEN 0 AND 9007199254740991),
    credits_pending  bigint      NOT NULL CHECK (credits_pending BETWEEN 0 AND 9007199254740991),
    credits_posted   bigint      NOT NULL CHECK (credits_posted BETWEEN 0 AND 9007199254740991),
    version          bigint      NOT NULL,  -- of its last entry
    revision         bigint      NOT NULL,  -- of its last own event: opened, limit changed
    opened_at        timestamptz NOT NULL,
    last_posted_at   timestamptz NOT NULL,
    PRIMARY KEY (shard, tenant, id)
) WITH (fillfactor = 70);  -- counters change in place: room on the page keeps updates HOT

-- "The accounts of this customer or loan", for support and for the statement of a customer.
CREATE INDEX accounts_by_owner ON transactions.accounts (tenant, owner);

CREATE TABLE transactions.transfers (
    shard           smallint    NOT NULL,
    tenant          integer     NOT NULL,
    id              uuid        NOT NULL,
    debit_account   uuid        NOT NULL,
    credit_account  uuid        NOT NULL CHECK (credit_account <> debit_account),
    amount          bigint      NOT NULL CHECK (amount BETWEEN 1 AND 9007199254740991),
    currency        char(3)     NOT NULL,
    code            text        NOT NULL,
    effective_on    date        NOT NULL,
    posted_at       timestamptz NOT NULL,
    reverses        uuid,
    command         uuid,       -- the loan command whose leg this is
    PRIMARY KEY (shard, tenant, id)
);

-- "How much of this transfer was reversed already": read under the original's accounts' locks.
CREATE INDEX transfers_by_original ON transactions.transfers (shard, tenant, reverses) WHERE reverses IS NOT NULL;

CREATE TABLE transactions.entries (
    shard           smallint    NOT NULL,
    tenant          integer     NOT NULL,
    account         uuid        NOT NULL,
    version         bigint      NOT NULL,
    transfer        uuid        NOT NULL,
    side            text        NOT NULL CHECK (side IN ('debit', 'credit')),
    amount          bigint      NOT NULL CHECK (amount > 0),
    debits_posted   bigint      NOT NULL,  -- the account's counters after this entry
    credits_posted  bigint      NOT NULL,
    posted_at       timestamptz NOT NULL,
    effective_on    date        NOT NULL,
    -- Also the order of a statement and the cursor of its pages; a second entry of one version is impossible.
    PRIMARY KEY (shard, tenant, account, version)
);

-- What was asked under a client-chosen id and what came of it, refusals included. A posted transfer needs no row
-- here: its own row holds every field.
CREATE TABLE transactions.commands (
    shard        smallint    NOT NULL,
    tenant       integer     NOT NULL,
    id           uuid        NOT NULL,
    kind         text        NOT NULL,
    request      jsonb       NOT NULL,
    reason       text,
    result       jsonb       NOT NULL,
    recorded_at  timestamptz NOT NULL,
    PRIMARY KEY (shard, tenant, id)
);

CREATE TABLE transactions.loans (
    shard           smallint    NOT NULL,
    tenant          integer     NOT NULL,
    id              uuid        NOT NULL,
    customer        uuid        NOT NULL,
    product         text        NOT NULL,
    currency        char(3)     NOT NULL,
    principal       bigint      NOT NULL CHECK (principal > 0),
    fee             bigint      NOT NULL CHECK (fee >= 0),
    term_days       integer     NOT NULL CHECK (term_days > 0),
    due_on          date        NOT NULL,
    origin          text        NOT NULL CHECK (origin IN ('offer', 'imported')),
    decision_id     uuid,
    effective_at    timestamptz NOT NULL,
    booked_at       timestamptz NOT NULL,
    principal_paid  bigint      NOT NULL CHECK (principal_paid BETWEEN 0 AND principal),
    fee_paid        bigint      NOT NULL CHECK (fee_paid BETWEEN 0 AND fee),
    closed_at       timestamptz,
    version         bigint      NOT NULL,
    PRIMARY KEY (shard, tenant, id),
    CHECK ((closed_at IS NOT NULL) = (principal_paid = principal AND fee_paid = fee)),
    CHECK (origin = 'imported' OR decision_id IS NOT NULL)
) WITH (fillfactor = 80);

-- An offer is used once, whatever races; the lock on the customer's control account is the first defence.
CREATE UNIQUE INDEX loans_offer_once ON transactions.loans (shard, tenant, decision_id) WHERE origin = 'offer';
-- Standings: every loan of a customer, for each decision.
CREATE INDEX loans_by_customer ON transactions.loans (shard, tenant, customer);

CREATE TABLE transactions.repayments (
    shard                  smallint    NOT NULL,
    tenant                 integer     NOT NULL,
    id                     uuid        NOT NULL,
    loan                   uuid        NOT NULL,
    amount                 bigint      NOT NULL CHECK (amount > 0),
    fee_part               bigint      NOT NULL CHECK (fee_part >= 0),
    principal_part         bigint      NOT NULL CHECK (principal_part >= 0),
    excess                 bigint      NOT NULL CHECK (excess >= 0),
    inferred               boolean     NOT NULL,
    effective_at           timestamptz NOT NULL,
    received_at            timestamptz NOT NULL,
    reversed_by            uuid,
    reversal_effective_at  timestamptz,
    PRIMARY KEY (shard, tenant, id),
    CHECK (fee_part + principal_part + excess = amount),
    CHECK ((reversed_by IS NULL) = (reversal_effective_at IS NULL))
);

-- The repayments of a loan: standings as of an instant, and the loan's own page.
CREATE INDEX repayments_by_loan ON transactions.repayments (shard, tenant, loan);

CREATE TABLE transactions.outbox (
    seq           bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid           xid8    NOT NULL DEFAULT pg_current_xact_id(),
    tenant        integer NOT NULL,
    event_id      uuid    NOT NULL,
    aggregate_id  uuid    NOT NULL,
    type          text    NOT NULL,
    body          bytea   NOT NULL
);

-- The relay reads what became visible since its last snapshot.
CREATE INDEX outbox_by_xid ON transactions.outbox (xid);

CREATE TABLE transactions.positions (
    position  bigint PRIMARY KEY,
    seq       bigint NOT NULL UNIQUE  -- an event gets one position, whatever two relays do
);

CREATE TABLE transactions.stream (
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

INSERT INTO transactions.stream (stream, since) VALUES ('transactions', '1:1:');

-- What is written once stays as it is, whoever asks.
CREATE FUNCTION transactions.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'table % is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transactions.transfers
    FOR EACH STATEMENT EXECUTE FUNCTION transactions.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transactions.entries
    FOR EACH STATEMENT EXECUTE FUNCTION transactions.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transactions.commands
    FOR EACH STATEMENT EXECUTE FUNCTION transactions.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transactions.outbox
    FOR EACH STATEMENT EXECUTE FUNCTION transactions.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transactions.positions
    FOR EACH STATEMENT EXECUTE FUNCTION transactions.refuse_change();

GRANT USAGE ON SCHEMA transactions TO amana_transactions, amana_relay;
GRANT SELECT, INSERT ON transactions.transfers, transactions.entries, transactions.commands, transactions.outbox
    TO amana_transactions;
GRANT SELECT, INSERT, UPDATE ON transactions.accounts, transactions.loans, transactions.repayments
    TO amana_transactions;
GRANT SELECT ON transactions.stream, transactions.positions TO amana_transactions;
GRANT SELECT ON transactions.outbox TO amana_relay;
GRANT SELECT, INSERT ON transactions.positions TO amana_relay;
GRANT SELECT, UPDATE ON transactions.stream TO amana_relay;
