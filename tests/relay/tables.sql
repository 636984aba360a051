-- The outbox tables, as every source's migration has them, for a scratch schema of the tests.
CREATE TABLE outbox (
    seq           bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid           xid8    NOT NULL DEFAULT pg_current_xact_id(),
    tenant        integer NOT NULL,
    event_id      uuid    NOT NULL,
    aggregate_id  uuid    NOT NULL,
    type          text    NOT NULL,
    body          bytea   NOT NULL
);
CREATE INDEX outbox_xid ON outbox (xid);
CREATE TABLE stream (
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
CREATE TABLE positions (position bigint PRIMARY KEY, seq bigint NOT NULL UNIQUE);
-- What the events are about: a row to lock and its version.
CREATE TABLE thing (id uuid PRIMARY KEY, version integer NOT NULL DEFAULT 0);
-- What was pruned: nothing here.
CREATE TABLE outbox_prunes (below bigint PRIMARY KEY);
