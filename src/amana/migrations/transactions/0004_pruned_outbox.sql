-- Pruning of the outbox: what was announced to go, and guards that let nothing else go. What goes is in the audit log,
-- under a checkpoint that is noted here; who prunes is the owner, never the service.

CREATE TABLE transactions.outbox_prunes (
    below       bigint      NOT NULL,  -- events before this position may be gone; from here on all are there
    announced   bigint      NOT NULL,  -- where in the audit log's stream `accesses` the event is that says so
    checkpoint  text        NOT NULL,  -- the signed note that covers what goes
    made_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- One row for each announcement; the largest is the one that holds, and it is read with every page of events.
    CONSTRAINT outbox_prunes_pkey PRIMARY KEY (below),
    CONSTRAINT outbox_prunes_say_something CHECK (below > 0 AND announced >= 0)
);
CREATE TRIGGER outbox_prunes_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transactions.outbox_prunes
    FOR EACH STATEMENT EXECUTE FUNCTION transactions.refuse_change();

-- An event goes only where it has a position below what was announced.
CREATE FUNCTION transactions.refuse_event_loss() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM gone LEFT JOIN transactions.positions USING (seq)
        WHERE position IS NULL OR position >= (SELECT coalesce(max(below), 0) FROM transactions.outbox_prunes)
    ) THEN
        RAISE EXCEPTION 'table % is append-only: no prune was announced of all that', TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END
$$;

-- And its position after it.
CREATE FUNCTION transactions.refuse_position_loss() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM gone
        WHERE position >= (SELECT coalesce(max(below), 0) FROM transactions.outbox_prunes)
           OR EXISTS (SELECT FROM transactions.outbox WHERE outbox.seq = gone.seq)
    ) THEN
        RAISE EXCEPTION 'table % is append-only: no prune was announced of all that', TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END
$$;

-- And nothing before anything was announced, whatever the statement names.
CREATE FUNCTION transactions.refuse_unannounced() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM transactions.outbox_prunes) THEN
        RAISE EXCEPTION 'table % is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END
$$;

DROP TRIGGER append_only ON transactions.outbox;
DROP TRIGGER append_only ON transactions.positions;
CREATE TRIGGER append_only BEFORE UPDATE OR TRUNCATE ON transactions.outbox
    FOR EACH STATEMENT EXECUTE FUNCTION transactions.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR TRUNCATE ON transactions.positions
    FOR EACH STATEMENT EXECUTE FUNCTION transactions.refuse_change();
CREATE TRIGGER outbox_announced BEFORE DELETE ON transactions.outbox
    FOR EACH STATEMENT EXECUTE FUNCTION transactions.refuse_unannounced();
CREATE TRIGGER positions_announced BEFORE DELETE ON transactions.positions
    FOR EACH STATEMENT EXECUTE FUNCTION transactions.refuse_unannounced();
CREATE TRIGGER outbox_kept AFTER DELETE ON transactions.outbox
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION transactions.refuse_event_loss();
CREATE TRIGGER positions_kept AFTER DELETE ON transactions.positions
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION transactions.refuse_position_loss();

GRANT SELECT ON transactions.outbox_prunes TO amana_transactions;
