-- Pruning of the outbox: what was announced to go, and guards that let nothing else go. What goes is in the audit log,
-- under a checkpoint that is noted here; who prunes is the owner, never the service.

CREATE TABLE eligibility.outbox_prunes (
    below       bigint      NOT NULL,  -- events before this position may be gone; from here on all are there
    announced   bigint      NOT NULL,  -- where in the audit log's stream `accesses` the event is that says so
    checkpoint  text        NOT NULL,  -- the signed note that covers what goes
    made_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- One row for each announcement; the largest is the one that holds, and it is read with every page of events.
    CONSTRAINT outbox_prunes_pkey PRIMARY KEY (below),
    CONSTRAINT outbox_prunes_say_something CHECK (below > 0 AND announced >= 0)
);
CREATE TRIGGER outbox_prunes_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON eligibility.outbox_prunes
    FOR EACH STATEMENT EXECUTE FUNCTION eligibility.refuse_change();

-- An event goes only where it has a position below what was announced.
CREATE FUNCTION eligibility.refuse_event_loss() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM gone LEFT JOIN eligibility.positions USING (seq)
        WHERE position IS NULL OR position >= (SELECT coalesce(max(below), 0) FROM eligibility.outbox_prunes)
    ) THEN
        RAISE EXCEPTION 'table % is append-only: no prune was announced of all that', TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END
$$;

-- And its position after it.
CREATE FUNCTION eligibility.refuse_position_loss() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM gone
        WHERE position >= (SELECT coalesce(max(below), 0) FROM eligibility.outbox_prunes)
           OR EXISTS (SELECT FROM eligibility.outbox WHERE outbox.seq = gone.seq)
    ) THEN
        RAISE EXCEPTION 'table % is append-only: no prune was announced of all that', TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END
$$;

-- And nothing before anything was announced, whatever the statement names.
CREATE FUNCTION eligibility.refuse_unannounced() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM eligibility.outbox_prunes) THEN
        RAISE EXCEPTION 'table % is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END
$$;

DROP TRIGGER outbox_append_only ON eligibility.outbox;
DROP TRIGGER positions_append_only ON eligibility.positions;
CREATE TRIGGER outbox_append_only BEFORE UPDATE OR TRUNCATE ON eligibility.outbox
    FOR EACH STATEMENT EXECUTE FUNCTION eligibility.refuse_change();
CREATE TRIGGER positions_append_only BEFORE UPDATE OR TRUNCATE ON eligibility.positions
    FOR EACH STATEMENT EXECUTE FUNCTION eligibility.refuse_change();
CREATE TRIGGER outbox_announced BEFORE DELETE ON eligibility.outbox
    FOR EACH STATEMENT EXECUTE FUNCTION eligibility.refuse_unannounced();
CREATE TRIGGER positions_announced BEFORE DELETE ON eligibility.positions
    FOR EACH STATEMENT EXECUTE FUNCTION eligibility.refuse_unannounced();
CREATE TRIGGER outbox_kept AFTER DELETE ON eligibility.outbox
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION eligibility.refuse_event_loss();
CREATE TRIGGER positions_kept AFTER DELETE ON eligibility.positions
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION eligibility.refuse_position_loss();

GRANT SELECT ON eligibility.outbox_prunes TO amana_eligibility;

-- Dead letters that were settled long ago may go, when the settings say so; a guard lets no other go.

-- Which of the settled ones are old enough.
CREATE INDEX consumer_letters_settled ON eligibility.consumer_letters (consumer, settled_at)
    WHERE state IN ('done', 'discarded');

-- A week is long enough to ask what became of one.
CREATE FUNCTION eligibility.refuse_early_loss() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM gone WHERE settled_at IS NULL OR settled_at > clock_timestamp() - interval '7 days') THEN
        RAISE EXCEPTION 'table % keeps what is not settled, or not for a week', TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER consumer_letters_kept AFTER DELETE ON eligibility.consumer_letters
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION eligibility.refuse_early_loss();

GRANT DELETE ON eligibility.consumer_letters TO amana_eligibility;
