-- Who read what borrowers were and are to be told: an outbox, with its stream, that holds nothing but reads.

CREATE TABLE notifications.outbox (
  seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  tenant integer NOT NULL,
  event_id uuid NOT NULL,
  aggregate_id uuid NOT NULL,
  type text NOT NULL,
  body bytea NOT NULL                 -- the very bytes that the audit log hashes
);

-- The relay reads what became visible since its last snapshot.
CREATE INDEX outbox_by_xid ON notifications.outbox (xid);

CREATE TABLE notifications.positions (
  position bigint PRIMARY KEY,
  seq bigint NOT NULL UNIQUE          -- an event gets one position, whatever two relays do
);

CREATE TABLE notifications.stream (
  stream text PRIMARY KEY,
  since pg_snapshot NOT NULL,
  until pg_snapshot,
  after_seq bigint NOT NULL DEFAULT 0,
  last_position bigint NOT NULL DEFAULT -1,
  published bigint NOT NULL DEFAULT -1,
  leader uuid,
  term bigint NOT NULL DEFAULT 0,
  lease_until timestamptz
);

-- The snapshot in which nothing is visible: every event is new to the relay.
INSERT INTO notifications.stream (stream, since) VALUES ('notifications', '1:1:');

-- Who read is never changed, not even by the owner of the tables.
CREATE FUNCTION notifications.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER outbox_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON notifications.outbox
  FOR EACH STATEMENT EXECUTE FUNCTION notifications.refuse_change();
CREATE TRIGGER positions_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON notifications.positions
  FOR EACH STATEMENT EXECUTE FUNCTION notifications.refuse_change();

GRANT SELECT, INSERT ON notifications.outbox TO amana_notifications;
GRANT SELECT ON notifications.stream, notifications.positions TO amana_notifications;
GRANT USAGE ON SCHEMA notifications TO amana_relay;
GRANT SELECT ON notifications.outbox TO amana_relay;
GRANT SELECT, INSERT ON notifications.positions TO amana_relay;
GRANT SELECT, UPDATE ON notifications.stream TO amana_relay;
