-- The outbox of a schema, written by its service and read by the relay. Names are unqualified: search_path decides.
--
-- The row of `stream` is inserted by the schema's migration:
--     INSERT INTO stream (stream, since) VALUES ('transactions', '1:1:');
-- '1:1:' is the snapshot in which nothing is visible (xmin = xmax = 1, and real transactions begin at 3), so that every
-- row of the outbox is new to it, whatever ran during the migration.
--
-- Grants. The service's role: INSERT, SELECT on outbox; SELECT on positions, stream and outbox_prunes. The role amana_relay: SELECT on
-- outbox; SELECT, INSERT on positions; SELECT, UPDATE on stream.
--
-- outbox.seq must keep CACHE 1 (the default): a session that draws numbers in advance would break the order.
-- A dump restored into another cluster starts a new count of transactions. Let a relay sequence everything first; then,
-- in the new cluster and before any service starts, make all that is there count as seen (owner, triggers disabled):
--     UPDATE outbox SET xid = '3';  UPDATE stream SET since = pg_current_snapshot();
-- Physical backups need nothing.

-- name: append_few
-- Events in the order of the arrays, which is the order of their seq.
INSERT INTO outbox (tenant, event_id, aggregate_id, type, body)
SELECT * FROM unnest($1::text::integer[], $2::text::uuid[], $3::text::uuid[], $4::text::text[], $5::bytea[]);

-- name: events_after
-- Sequenced events after a position, in order: at most $2 of them and, past the first, at most $3 bytes of bodies.
SELECT position, tenant, event_id, aggregate_id, type, body
FROM (
    SELECT position, tenant, event_id, aggregate_id, type, body,
           sum(octet_length(body)) OVER (ORDER BY position) - octet_length(body) AS bytes_before
    FROM (SELECT position, seq FROM positions WHERE position > $1 ORDER BY position LIMIT $2) AS page
    JOIN outbox USING (seq)
) AS event
WHERE bytes_before = 0 OR bytes_before + octet_length(body) <= $3
ORDER BY position;

-- name: stream_end
-- The name of this schema's stream, the highest position given so far, the highest that is published, and the first
-- that was not pruned.
SELECT stream, last_position, published, (SELECT coalesce(max(below), 0) FROM outbox_prunes) AS first_kept
FROM stream;

-- name: stream_settled
-- How far the stream is and where it begins, with the clock just before this look, and what is committed and waits for a position: how many
-- events (counted up to about 2 x $1), the oldest by its id, and whether a large difference is under way, in which
-- nobody has counted.
SELECT stream, last_position, published, (SELECT coalesce(max(below), 0) FROM outbox_prunes) AS first_kept,
       now() AS now, until IS NOT NULL AS large, waiting.number, waiting.oldest
FROM stream
CROSS JOIN LATERAL (
    SELECT count(*) AS number, (array_agg(event_id ORDER BY event_id))[1] AS oldest
    FROM (
        (SELECT event_id FROM outbox WHERE xid >= pg_snapshot_xmax(stream.since) ORDER BY xid LIMIT $1)
        UNION ALL
        (SELECT event_id FROM outbox
         WHERE xid = ANY (ARRAY(SELECT pg_snapshot_xip(stream.since))) ORDER BY xid LIMIT $1)
    ) AS found
) AS waiting;
