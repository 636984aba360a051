-- Retention of bodies: what was announced to be dropped, and a guard that lets nothing else go. The hashes of dropped
-- leaves stay where they were recorded, with the checkpoints that added them: the log still verifies.

CREATE TABLE audit.drops (
  stream text NOT NULL,
  below bigint NOT NULL,              -- leaves before this position may be without their bodies
  announced bigint NOT NULL,          -- where in the stream `accesses` the event is that says so
  -- One row for each stream of each announcement.
  CONSTRAINT drops_pkey PRIMARY KEY (stream, announced),
  -- Entries are published in bundles of 256: only whole ones go.
  CONSTRAINT drops_are_of_whole_bundles CHECK (below >= 0 AND below % 256 = 0),
  CONSTRAINT drops_are_announced CHECK (announced >= 0)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.drops
  FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
ALTER TABLE audit.drops ENABLE ALWAYS TRIGGER append_only;

-- A leaf goes only where a checkpoint covers it, and where a signed event says that it was to go.
CREATE FUNCTION audit.refuse_loss() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  signed bigint := (SELECT coalesce(max(size), 0) FROM audit.checkpoints WHERE stream = 'accesses');
BEGIN
  IF EXISTS (
    SELECT FROM (SELECT stream, max(position) AS last FROM gone GROUP BY stream) AS lost
    WHERE lost.last >= (SELECT coalesce(max(below), 0) FROM audit.drops
                        WHERE drops.stream = lost.stream AND announced < signed)
       OR lost.last >= (SELECT coalesce(max(size), 0) FROM audit.checkpoints WHERE checkpoints.stream = lost.stream)
  ) THEN
    RAISE EXCEPTION 'DELETE on audit.leaves refused: the audit log only grows'
      USING ERRCODE = 'insufficient_privilege';
  END IF;
  RETURN NULL;
END $$;

-- And none goes before anything was announced, whatever the statement names.
CREATE FUNCTION audit.refuse_unannounced() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM audit.drops) THEN
    RAISE EXCEPTION 'DELETE on audit.leaves refused: the audit log only grows'
      USING ERRCODE = 'insufficient_privilege';
  END IF;
  RETURN NULL;
END $$;

DROP TRIGGER append_only ON audit.leaves;
CREATE TRIGGER append_only BEFORE UPDATE OR TRUNCATE ON audit.leaves
  FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER announced BEFORE DELETE ON audit.leaves
  FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_unannounced();
CREATE TRIGGER kept AFTER DELETE ON audit.leaves
  REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_loss();
-- ALWAYS: also for a session that calls itself a replica.
ALTER TABLE audit.leaves ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE audit.leaves ENABLE ALWAYS TRIGGER announced;
ALTER TABLE audit.leaves ENABLE ALWAYS TRIGGER kept;

GRANT SELECT ON audit.drops TO amana_audit;
