-- Where the events of a replay come from: the audit log or, as owner of the main database, the outboxes themselves.

-- name: audit_page
-- The next leaves of a stream.
SELECT position, type, bytes AS body FROM audit.leaves WHERE stream = $1 AND position >= $2 ORDER BY position LIMIT $3;

-- name: audit_last
-- The last leaf of a stream before the first gap behind what is sealed, -1 before the first: partitions of a broker bring
-- events in any order.
SELECT sealed.size - 1 + count(*) FILTER (WHERE behind.position = sealed.size + behind.place - 1)
FROM (SELECT coalesce(max(size), 0) AS size FROM audit.checkpoints WHERE stream = $1) AS sealed
LEFT JOIN LATERAL (
    SELECT position, row_number() OVER (ORDER BY position) AS place
    FROM audit.leaves
    WHERE stream = $1 AND position >= sealed.size
) AS behind ON true
GROUP BY sealed.size;

-- name: audit_first
-- The first leaf that a stream has, where position $2 is of those that retention dropped; else NULL.
SELECT min(position) FROM audit.leaves
WHERE stream = $1 AND $2 < (SELECT max(below) FROM audit.drops WHERE stream = $1)
HAVING min(position) > $2;

-- name: audit_checkpoint
-- The newest signed size and root of a stream, of those with at most so many leaves.
SELECT size, root FROM audit.checkpoints WHERE stream = $1 AND size <= $2 ORDER BY size DESC LIMIT 1;

-- name: eligibility_page
-- The next events of the stream that have a position.
SELECT position, type, body FROM eligibility.positions JOIN eligibility.outbox USING (seq)
WHERE position >= $1 ORDER BY position LIMIT $2;

-- name: transactions_page
-- The next events of the stream that have a position.
SELECT position, type, body FROM transactions.positions JOIN transactions.outbox USING (seq)
WHERE position >= $1 ORDER BY position LIMIT $2;

-- name: eligibility_oldest
-- Where the stream begins: what was before was pruned.
SELECT coalesce(max(below), 0) FROM eligibility.outbox_prunes;

-- name: transactions_oldest
-- The same of the other stream.
SELECT coalesce(max(below), 0) FROM transactions.outbox_prunes;

-- name: eligibility_last
-- The last position that was given.
SELECT last_position FROM eligibility.stream;

-- name: transactions_last
-- The last position that was given.
SELECT last_position FROM transactions.stream;

-- name: eligibility_tail
-- The events that this snapshot sees and that have no position in it, in the order in which the relay will take them:
-- what is left of a difference that it began, then what is new to it; of each in the order of seq.
SELECT 'eligibility' AS stream,
       row_number() OVER (ORDER BY NOT coalesce(pg_visible_in_snapshot(o.xid, s.until), false), o.seq) AS place,
       o.type, o.body
FROM eligibility.stream s, eligibility.outbox o
WHERE (o.xid >= pg_snapshot_xmax(s.since) OR o.xid = ANY (ARRAY(SELECT pg_snapshot_xip(s.since))))
  AND NOT (s.until IS NOT NULL AND pg_visible_in_snapshot(o.xid, s.until) AND o.seq <= s.after_seq);

-- name: transactions_tail
-- The same of the other stream.
SELECT 'transactions' AS stream,
       row_number() OVER (ORDER BY NOT coalesce(pg_visible_in_snapshot(o.xid, s.until), false), o.seq) AS place,
       o.type, o.body
FROM transactions.stream s, transactions.outbox o
WHERE (o.xid >= pg_snapshot_xmax(s.since) OR o.xid = ANY (ARRAY(SELECT pg_snapshot_xip(s.since))))
  AND NOT (s.until IS NOT NULL AND pg_visible_in_snapshot(o.xid, s.until) AND o.seq <= s.after_seq);

-- name: stay
-- For the rest of this transaction: it waits for rows to be written elsewhere.
SELECT set_config('idle_in_transaction_session_timeout', '0', true), set_config('statement_timeout', '0', true);

-- name: read_clock
-- The database's clock.
SELECT clock_timestamp();
