-- What `amana events prune` does in the main database, as the owner, with search_path at one service's schema.

-- name: stands
-- How the stream stands: given, published, where it begins by announcement, and the first position that is there yet.
SELECT last_position, published, (SELECT coalesce(max(below), 0) FROM outbox_prunes) AS below,
       coalesce((SELECT min(position) FROM positions), last_position + 1) AS lowest
FROM stream;

-- name: events_from
-- Events from position $1 on and before $2, in order, at most $3.
SELECT position, body FROM positions JOIN outbox USING (seq)
WHERE position >= $1 AND position < $2 ORDER BY position LIMIT $3;

-- name: consumers
-- How far each consumer that keeps its progress in the main database is in stream $1.
SELECT 'eligibility' AS service, consumer, below, advanced_at FROM eligibility.consumer_progress WHERE stream = $1
UNION ALL
SELECT 'notifications', consumer, below, advanced_at FROM notifications.consumer_progress WHERE stream = $1
ORDER BY below;

-- name: announce
-- Events before position $1 may go: announced at $2 of the log's own stream, covered by the note $3. No row where not
-- all of them are published, or where none would be left. One that was announced before is left as it is.
INSERT INTO outbox_prunes (below, announced, checkpoint)
SELECT $1::bigint, $2, $3 FROM stream WHERE published >= $1::bigint - 1 AND last_position >= $1::bigint
ON CONFLICT DO NOTHING;

-- name: take_turns
-- One prune of a stream at a time; whoever reads where the stream begins does not wait.
LOCK TABLE outbox_prunes IN SHARE ROW EXCLUSIVE MODE;

-- name: drop_events
-- The events from position $1 on and before $2 go.
DELETE FROM outbox USING positions
WHERE positions.seq = outbox.seq AND positions.position >= $1 AND positions.position < $2;

-- name: drop_positions
-- And their positions after them.
DELETE FROM positions WHERE position >= $1 AND position < $2;
