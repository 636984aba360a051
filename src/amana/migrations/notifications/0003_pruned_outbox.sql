-- Pruning of the outbox: what was announced to go, and guards that let nothing else go. What goes is in the audit log,
-- under a checkpoint that is noted here; who prunes is the owner, never the service.

CREATE TABLE notifications.outbox_prunes (
  below       bigint      NOT NULL,  -- events before this position may be gone; from here on all are there
  announced   bigint      NOT NULL,  -- where in the audit log's stream `accesses` the event is that says so
  checkpoint  text        NOT NULL,  -- the signed note that covers what goes
  made_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- One row for each announcement; the largest is the one that holds, and it is read with every page of events.
  CONSTRAINT outbox_prunes_pkey PRIMARY KEY (below),
  CONSTRAINT outbox_prunes_say_something CHECK (below > 0 AND announced >= 0)
);
CREATE TRIGGER outbox_prunes_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON notifications.outbox_prunes
  FOR EACH STATEMENT EXECUTE FUNCTION notifications.refuse_change();

-- An event goes only where it has a position below what was announced.
CREATE FUNCTION notifications.refuse_event_loss() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (
    SELECT FROM gone LEFT JOIN notifications.positions USING (seq)
    WHERE position IS NULL OR position >= (SELECT coalesce(max(below), 0) FROM notifications.outbox_prunes)
  ) THEN
    RAISE EXCEPTION 'table % is append-only: no prune was announced of all that', TG_TABLE_NAME
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NULL;
END
$$;

-- And its position after it.
CREATE FUNCTION notifications.refuse_position_loss() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (
    SELECT FROM gone
    WHERE position >= (SELECT coalesce(max(below), 0) FROM notifications.outbox_prunes)
       OR EXISTS (SELECT FROM notifications.outbox WHERE outbox.seq = gone.seq)
  ) THEN
    RAISE EXCEPTION 'table % is append-only: no prune was announced of all that', TG_TABLE_NAME
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NULL;
END
$$;

-- And nothing before anything was announced, whatever the statement names.
CREATE FUNCTION notifications.refuse_unannounced() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM notifications.outbox_prunes) THEN
    RAISE EXCEPTION 'table % is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NULL;
END
$$;

DROP TRIGGER outbox_append_only ON notifications.outbox;
DROP TRIGGER positions_append_only ON notifications.positions;
CREATE TRIGGER outbox_append_only BEFORE UPDATE OR TRUNCATE ON notifications.outbox
  FOR EACH STATEMENT EXECUTE FUNCTION notifications.refuse_change();
CREATE TRIGGER positions_append_only BEFORE UPDATE OR TRUNCATE ON notifications.positions
  FOR EACH STATEMENT EXECUTE FUNCTION notifications.refuse_change();
CREATE TRIGGER outbox_announced BEFORE DELETE ON notifications.outbox
  FOR EACH STATEMENT EXECUTE FUNCTION notifications.refuse_unannounced();
CREATE TRIGGER positions_announced BEFORE DELETE ON notifications.positions
  FOR EACH STATEMENT EXECUTE FUNCTION notifications.refuse_unannounced();
CREATE TRIGGER outbox_kept AFTER DELETE ON notifications.outbox
  REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION notifications.refuse_event_loss();
CREATE TRIGGER positions_kept AFTER DELETE ON notifications.positions
  REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION notifications.refuse_position_loss();

GRANT SELECT ON notifications.outbox_prunes TO amana_notifications;
