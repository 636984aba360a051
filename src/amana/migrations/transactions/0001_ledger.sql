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
    floor            bigint      CHECK (floor BETWEEN 0 AND 9007199254740991),
    status           text        NOT NULL CHECK (status IN ('open', 'frozen', 'closed')),
    frozen_for       text        CHECK (frozen_for IN ('debits', 'all')),
    -- The limit itself is held under the row lock, not by a CHECK: a lowered limit or a returned repayment may
    -- leave an account above it.
    debits_pending   bigint      NOT NULL CHECK (debits_pending BETWEEN 0 AND 9007199254740991),
    debits_posted    bigint      NOT NULL CHECK (debits_posted BETWEEN 0 AND 9007199254740991),
    credits_pending  bigint      NOT NULL CHECK (credits_pending BETWEEN 0 AND 9007199254740991),
    credits_posted   bigint      NOT NULL CHECK (credits_posted BETWEEN 0 AND 9007199254740991),
    version          bigint      NOT NULL,  -- counts its transfers
    last_transfer    uuid,                  -- the newest of them: where its history begins
    revision         bigint      NOT NULL,  -- of its last own event: opened, limit changed, frozen ...
    opened_at        timestamptz NOT NULL,
    last_posted_at   timestamptz NOT NULL,
    PRIMARY KEY (shard, tenant, id),
    CHECK ((status = 'frozen') = (frozen_for IS NOT NULL)),
    CHECK ((version = 0) = (last_transfer IS NULL))
) WITH (fillfactor = 70);  -- counters change in place: room on the page keeps updates HOT

-- "The accounts of this customer or loan", for support and for the statement of a customer.
CREATE INDEX accounts_by_owner ON transactions.accounts (tenant, owner);

-- Every movement, with both accounts as it left them. An account's history is a chain: from accounts.last_transfer to
-- the transfer before it on that account (`*_previous`), and so on. So a posting writes one row and one index entry,
-- whose place (ids are UUIDv7) is the right end: its cost does not grow with history (decision 0008).
CREATE TABLE transactions.transfers (
    shard                   smallint    NOT NULL,
    tenant                  integer     NOT NULL,
    id                      uuid        NOT NULL,
    kind                    text        NOT NULL CHECK (kind IN ('post', 'hold', 'capture', 'void', 'expire')),
    debit_account           uuid        NOT NULL,
    credit_account          uuid        NOT NULL CHECK (credit_account <> debit_account),
    amount                  bigint      NOT NULL CHECK (amount BETWEEN 1 AND 9007199254740991),
    currency                char(3)     NOT NULL,
    code                    text        NOT NULL,
    effective_on            date        NOT NULL,
    posted_at               timestamptz NOT NULL,
    original                uuid,       -- what a post reverses; the hold of a capture, void or expiry
    released                bigint      NOT NULL CHECK (released BETWEEN 0 AND 9007199254740991),
    command                 uuid,       -- the loan command whose leg this is
    dated                   boolean     NOT NULL,  -- whether the client named effective_on: a replay must do the same
    debit_version           bigint      NOT NULL,  -- the debit account after it
    debit_previous          uuid,
    debit_debits_pending    bigint      NOT NULL,
    debit_debits_posted     bigint      NOT NULL,
    debit_credits_pending   bigint      NOT NULL,
    debit_credits_posted    bigint      NOT NULL,
    credit_version          bigint      NOT NULL,  -- the credit account after it
    credit_previous         uuid,
    credit_debits_pending   bigint      NOT NULL,
    credit_debits_posted    bigint      NOT NULL,
    credit_credits_pending  bigint      NOT NULL,
    credit_credits_posted   bigint      NOT NULL,
    PRIMARY KEY (shard, tenant, id),
    CHECK (original IS NOT NULL OR kind IN ('post', 'hold')),
    CHECK (released = 0 OR kind IN ('capture', 'void', 'expire')),
    CHECK (released = amount OR kind NOT IN ('void', 'expire'))
);

-- "How much of this was reversed already", and the captures of a hold: a small part of all transfers has an original.
CREATE INDEX transfers_by_original ON transactions.transfers (shard, tenant, original) WHERE original IS NOT NULL;

-- The two sides of every transfer, as accountants speak of them: `posted` and `pending` are what it added to the
-- account's counters on that side, the counters are those after it.
CREATE VIEW transactions.entries AS
SELECT tenant, debit_account AS account, debit_version AS version, id AS transfer, kind, 'debit' AS side,
       CASE WHEN kind IN ('post', 'capture') THEN amount ELSE 0 END AS posted,
       CASE WHEN kind = 'hold' THEN amount ELSE -released END AS pending,
       debit_debits_pending AS debits_pending, debit_debits_posted AS debits_posted,
       debit_credits_pending AS credits_pending, debit_credits_posted AS credits_posted,
       posted_at, effective_on, debit_previous AS previous
FROM transactions.transfers
UNION ALL
SELECT tenant, credit_account, credit_version, id, kind, 'credit',
       CASE WHEN kind IN ('post', 'capture') THEN amount ELSE 0 END,
       CASE WHEN kind = 'hold' THEN amount ELSE -released END,
       credit_debits_pending, credit_debits_posted, credit_credits_pending, credit_credits_posted,
       posted_at, effective_on, credit_previous
FROM transactions.transfers;

-- Every 128th transfer of an account, so that a walk along its chain begins near what it looks for.
CREATE TABLE transactions.marks (
    shard      smallint    NOT NULL,
    tenant     integer     NOT NULL,
    account    uuid        NOT NULL,
    version    bigint      NOT NULL,
    transfer   uuid        NOT NULL,
    posted_at  timestamptz NOT NULL,
    PRIMARY KEY (shard, tenant, account, version)
);

-- "The account as it stood at an instant."
CREATE INDEX marks_by_time ON transactions.marks (shard, tenant, account, posted_at);

-- The ledger shard of an id: the bucket in its last 12 bits, as in `shard_of` of the code.
CREATE FUNCTION transactions.shard_of(id uuid, shards integer) RETURNS smallint
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN
    (((get_byte(uuid_send(id), 14) & 15) << 8 | get_byte(uuid_send(id), 15)) * shards / 4096)::smallint;

-- One account's side of one transfer: a step along the account's chain.
CREATE FUNCTION transactions.entry_of(of_tenant integer, of_account uuid, of_transfer uuid, shards integer)
RETURNS TABLE (version bigint, transfer uuid, kind text, side text, posted bigint, pending bigint,
               debits_pending bigint, debits_posted bigint, credits_pending bigint, credits_posted bigint,
               posted_at timestamptz, effective_on date, previous uuid)
LANGUAGE sql STABLE ROWS 1 AS $$
    SELECT CASE WHEN debit_account = of_account THEN debit_version ELSE credit_version END,
           id, kind,
           CASE WHEN debit_account = of_account THEN 'debit' ELSE 'credit' END,
           CASE WHEN kind IN ('post', 'capture') THEN amount ELSE 0 END,
           CASE WHEN kind = 'hold' THEN amount ELSE -released END,
           CASE WHEN debit_account = of_account THEN debit_debits_pending ELSE credit_debits_pending END,
           CASE WHEN debit_account = of_account THEN debit_debits_posted ELSE credit_debits_posted END,
           CASE WHEN debit_account = of_account THEN debit_credits_pending ELSE credit_credits_pending END,
           CASE WHEN debit_account = of_account THEN debit_credits_posted ELSE credit_credits_posted END,
           transfers.posted_at, transfers.effective_on,
           CASE WHEN debit_account = of_account THEN debit_previous ELSE credit_previous END
    FROM transactions.transfers
    WHERE shard = transactions.shard_of(of_transfer, shards) AND tenant = of_tenant AND id = of_transfer
$$;

-- What became of a hold. The transfer of kind `hold` under the same id says what was held.
CREATE TABLE transactions.holds (
    shard           smallint    NOT NULL,
    tenant          integer     NOT NULL,
    id              uuid        NOT NULL,
    debit_account   uuid        NOT NULL,
    credit_account  uuid        NOT NULL,
    amount          bigint      NOT NULL CHECK (amount BETWEEN 1 AND 9007199254740991),
    currency        char(3)     NOT NULL,
    code            text        NOT NULL,
    ttl_s           integer     CHECK (ttl_s > 0),
    expires_at      timestamptz,
    captured        bigint      NOT NULL CHECK (captured BETWEEN 0 AND amount),
    state           text        NOT NULL CHECK (state IN ('open', 'captured', 'voided', 'expired')),
    version         bigint      NOT NULL,  -- of its last event
    PRIMARY KEY (shard, tenant, id),
    CHECK ((ttl_s IS NULL) = (expires_at IS NULL))
) WITH (fillfactor = 80);

-- The sweeper's walk: what is over, oldest first.
CREATE INDEX holds_expiring ON transactions.holds (expires_at) WHERE state = 'open' AND expires_at IS NOT NULL;
-- "Which holds on this account are over": asked for every account with something pending, before it moves.
CREATE INDEX holds_expiring_by_debit ON transactions.holds (tenant, debit_account, expires_at)
    WHERE state = 'open' AND expires_at IS NOT NULL;
CREATE INDEX holds_expiring_by_credit ON transactions.holds (tenant, credit_account, expires_at)
    WHERE state = 'open' AND expires_at IS NOT NULL;

-- What clients say about a transfer in their own words, apart from the ledger so that it can be erased.
CREATE TABLE transactions.notes (
    shard      smallint NOT NULL,
    tenant     integer  NOT NULL,
    transfer   uuid     NOT NULL,
    reference  text,
    metadata   jsonb,
    salt       bytea    NOT NULL,  -- the event's commitment is SHA-256 over it and the text
    PRIMARY KEY (shard, tenant, transfer)
);

-- "The transfer that we call so": a lender's own reference, not unique.
CREATE INDEX notes_by_reference ON transactions.notes (tenant, reference) WHERE reference IS NOT NULL;

-- Every id that a client chose, once, whatever it was used for: the one key that holds two racing callers to one effect
-- (decision 0005). Most ids are UUIDv7, so its index grows at the right end.
CREATE TABLE transactions.ids (
    shard   smallint NOT NULL,
    tenant  integer  NOT NULL,
    id      uuid     NOT NULL,
    PRIMARY KEY (shard, tenant, id)
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
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transactions.marks
    FOR EACH STATEMENT EXECUTE FUNCTION transactions.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transactions.ids
    FOR EACH STATEMENT EXECUTE FUNCTION transactions.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transactions.commands
    FOR EACH STATEMENT EXECUTE FUNCTION transactions.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transactions.outbox
    FOR EACH STATEMENT EXECUTE FUNCTION transactions.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transactions.positions
    FOR EACH STATEMENT EXECUTE FUNCTION transactions.refuse_change();

GRANT USAGE ON SCHEMA transactions TO amana_transactions, amana_relay;
GRANT SELECT, INSERT ON transactions.transfers, transactions.marks, transactions.ids, transactions.commands,
    transactions.outbox, transactions.notes TO amana_transactions;
GRANT SELECT ON transactions.entries TO amana_transactions;
GRANT SELECT, INSERT, UPDATE ON transactions.accounts, transactions.holds, transactions.loans,
    transactions.repayments TO amana_transactions;
GRANT SELECT ON transactions.stream, transactions.positions TO amana_transactions;
GRANT SELECT ON transactions.outbox TO amana_relay;
GRANT SELECT, INSERT ON transactions.positions TO amana_relay;
GRANT SELECT, UPDATE ON transactions.stream TO amana_relay;
