-- The audit log: one Merkle log per stream, position = leaf index. Nothing here is ever changed or removed; role
-- amana_audit may only add, and a trigger refuses the rest to everybody who does not first take the trigger away.

CREATE TABLE audit.leaves (
  stream text NOT NULL,
  position bigint NOT NULL,
  tenant integer NOT NULL,
  event_id uuid NOT NULL,
  type text NOT NULL,
  occurred_at timestamptz NOT NULL,
  aggregate_type text NOT NULL,
  aggregate_id uuid NOT NULL,
  aggregate_version bigint NOT NULL,
  customer uuid,                      -- data.customer of the event, where it has one
  actor text NOT NULL,
  trace text NOT NULL,
  bytes bytea NOT NULL,               -- the event as its source wrote it; every other column is read from it
  leaf_hash bytea NOT NULL GENERATED ALWAYS AS (sha256('\x00'::bytea || bytes)) STORED,  -- RFC 9162, 2.1.1
  received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- One leaf per place in a stream: this is what drops duplicates, and the order that the tree is built in.
  CONSTRAINT leaves_pkey PRIMARY KEY (stream, position),
  CONSTRAINT leaves_position_is_a_leaf_index CHECK (position >= 0)
);

-- One event by its id. Not unique: what a source sent twice under two positions is kept and reported, not lost.
CREATE INDEX leaves_event ON audit.leaves (tenant, event_id);
-- What happened to a customer, in order of time; partial, because many events name no customer.
CREATE INDEX leaves_customer ON audit.leaves (tenant, customer, occurred_at, stream, position)
  WHERE customer IS NOT NULL;
-- What happened to one account, loan, decision: the history of an aggregate, in order of time.
CREATE INDEX leaves_aggregate ON audit.leaves (tenant, aggregate_id, occurred_at, stream, position);
-- All events of a type, in order of time: "every declined decision of March".
CREATE INDEX leaves_type ON audit.leaves (tenant, type, occurred_at, stream, position);
-- A tenant's whole trail, in order of time, without filter.
CREATE INDEX leaves_time ON audit.leaves (tenant, occurred_at, stream, position);

CREATE TABLE audit.nodes (
  stream text NOT NULL,
  level smallint NOT NULL,            -- 8, 16, 24, ...: the subtree has 2^level leaves
  number bigint NOT NULL,             -- counted from the left among those of its level
  hash bytea NOT NULL,
  -- A proof reads at most a few runs of siblings on each level: a range of this key.
  CONSTRAINT nodes_pkey PRIMARY KEY (stream, level, number),
  CONSTRAINT nodes_hash_is_sha256 CHECK (octet_length(hash) = 32)
);

CREATE TABLE audit.checkpoints (
  stream text NOT NULL,
  size bigint NOT NULL,               -- leaves covered
  root bytea NOT NULL,
  note text NOT NULL,                 -- the signed note as published
  leaf_hashes bytea NOT NULL,         -- of the leaves that it added, 32 bytes each: verify can name the altered one
  signed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- One checkpoint per size, found newest first or at a size; two sealers can't both sign the same step.
  CONSTRAINT checkpoints_pkey PRIMARY KEY (stream, size),
  CONSTRAINT checkpoints_cover_leaves CHECK (size > 0),
  CONSTRAINT checkpoints_root_is_sha256 CHECK (octet_length(root) = 32),
  CONSTRAINT checkpoints_hashes_are_sha256 CHECK (octet_length(leaf_hashes) % 32 = 0)
);
-- Hashes do not compress: spare the attempt.
ALTER TABLE audit.checkpoints ALTER COLUMN leaf_hashes SET STORAGE EXTERNAL;

CREATE TABLE audit.progress (
  stream text NOT NULL,
  source_last bigint NOT NULL,        -- the highest position that the source says it has given
  polled_at timestamptz NOT NULL,
  -- One row per stream: what completeness is measured against.
  CONSTRAINT progress_pkey PRIMARY KEY (stream)
);

CREATE FUNCTION audit.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% on audit.% refused: the audit log only grows', TG_OP, TG_TABLE_NAME
    USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.leaves
  FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.nodes
  FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.checkpoints
  FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
-- ALWAYS: also for a session that calls itself a replica.
ALTER TABLE audit.leaves ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE audit.nodes ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE audit.checkpoints ENABLE ALWAYS TRIGGER append_only;

GRANT USAGE ON SCHEMA audit TO amana_audit;
GRANT SELECT, INSERT ON audit.leaves, audit.nodes, audit.checkpoints TO amana_audit;
GRANT SELECT, INSERT, UPDATE ON audit.progress TO amana_audit;
