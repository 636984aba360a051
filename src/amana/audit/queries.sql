-- name: add_leaves
-- Stores leaves of stream $1, unless their positions are taken or were dropped. Returns the positions stored.
INSERT INTO leaves (stream, position, tenant, event_id, type, occurred_at, aggregate_type, aggregate_id,
                    aggregate_version, customer, actor, trace, bytes)
SELECT $1, given.*
FROM unnest($2::bigint[], $3::integer[], $4::uuid[], $5::text[], $6::timestamptz[], $7::text[], $8::uuid[],
            $9::bigint[], $10::uuid[], $11::text[], $12::text[], $13::bytea[])
       AS given (position, tenant, event_id, type, occurred_at, aggregate_type, aggregate_id, aggregate_version, customer,
                 actor, trace, bytes)
WHERE given.position >= coalesce((SELECT max(below) FROM drops WHERE stream = $1), 0)
ON CONFLICT ON CONSTRAINT leaves_pkey DO NOTHING
RETURNING position;

-- name: differing
-- Which of the given positions of stream $1 are stored with other bytes than the given ones.
SELECT given.position
FROM unnest($2::bigint[], $3::bytea[]) AS given (position, bytes)
JOIN leaves ON leaves.stream = $1 AND leaves.position = given.position
WHERE leaves.bytes <> given.bytes
ORDER BY given.position;

-- name: elsewhere
-- Which of the events $3 of tenants $2, stored at positions $4 of stream $1, stand at another place too, and where.
SELECT given.position, other.stream, other.position AS elsewhere
FROM unnest($2::integer[], $3::uuid[], $4::bigint[]) AS given (tenant, event_id, position)
JOIN leaves AS other ON other.tenant = given.tenant AND other.event_id = given.event_id
WHERE (other.stream, other.position) <> ($1, given.position)
ORDER BY given.position, other.stream, other.position;

-- name: missing
-- How many positions of stream $1 from $2 on and before $3 are not stored. Walks those that are.
SELECT $3::bigint - $2::bigint - count(*)
FROM leaves
WHERE stream = $1 AND position >= $2::bigint AND position < $3::bigint;

-- name: highest_position
-- The highest position stored of stream $1, -1 for none.
SELECT coalesce(max(position), -1) FROM leaves WHERE stream = $1;

-- name: first_missing
-- The first position from $2 on that stream $1 lacks. Costs a walk over the unbroken run from $2.
SELECT CASE
  WHEN NOT EXISTS (SELECT FROM leaves WHERE stream = $1 AND position = $2::bigint) THEN $2::bigint
  ELSE (
    SELECT here.position + 1
    FROM leaves AS here
    WHERE here.stream = $1 AND here.position >= $2::bigint
      AND NOT EXISTS (SELECT FROM leaves AS next
                      WHERE next.stream = $1 AND next.position = here.position + 1)
    ORDER BY here.position
    LIMIT 1)
END;

-- name: note_source_last
-- Remembers how far the source of stream $1 says it is.
INSERT INTO progress (stream, source_last, polled_at) VALUES ($1, $2, clock_timestamp())
ON CONFLICT ON CONSTRAINT progress_pkey
DO UPDATE SET source_last = greatest(progress.source_last, excluded.source_last), polled_at = excluded.polled_at;

-- name: lock_sealing
-- One sealer per stream at a time, until the transaction ends.
SELECT pg_advisory_xact_lock(hashtextextended('amana audit seal ' || $1, 0));

-- name: newest_checkpoint
-- The largest checkpoint of stream $1.
SELECT size, root, note, signed_at FROM checkpoints WHERE stream = $1 ORDER BY size DESC LIMIT 1;

-- name: hashes_from
-- Leaf hashes of stream $1 from position $2 on, at most $3, if there is one at $2; the caller stops at a gap.
SELECT position, leaf_hash
FROM leaves
WHERE stream = $1 AND position >= $2
  AND EXISTS (SELECT FROM leaves WHERE stream = $1 AND position = $2)
ORDER BY position
LIMIT $3;

-- name: add_nodes
-- Stores full subtrees of stream $1: levels $2, numbers $3, hashes $4.
INSERT INTO nodes (stream, level, number, hash)
SELECT $1, given.* FROM unnest($2::smallint[], $3::bigint[], $4::bytea[]) AS given;

-- name: add_checkpoint
-- Stores a signed checkpoint of stream $1: size $2, root $3, note $4, hashes of the leaves that it added $5.
INSERT INTO checkpoints (stream, size, root, note, leaf_hashes) VALUES ($1, $2, $3, $4, $5);

-- name: leaf_hashes_in
-- Leaf hashes of stream $1 in the ranges that begin at $2 and end before $3, at most 128 leaves each (LIMIT: it makes
-- each range a walk along the key, whatever the planner thinks of the table).
SELECT found.position, found.leaf_hash
FROM unnest($2::bigint[], $3::bigint[]) AS wanted (first, stop)
CROSS JOIN LATERAL (
  SELECT position, leaf_hash FROM leaves
  WHERE stream = $1 AND position >= wanted.first AND position < wanted.stop
  ORDER BY position
  LIMIT 128
) AS found;

-- name: recorded_hashes
-- Leaf hashes of stream $1 from position $2 on and before $3, as they were recorded with the checkpoints that added them.
SELECT at AS position, substring(c.leaf_hashes FROM ((at - c.first) * 32 + 1)::integer FOR 32) AS leaf_hash
FROM (SELECT size, size - octet_length(leaf_hashes) / 32 AS first, leaf_hashes
      FROM checkpoints
      WHERE stream = $1 AND size > $2::bigint
      ORDER BY size
      LIMIT greatest($3::bigint - $2::bigint, 0)) AS c
CROSS JOIN LATERAL generate_series(greatest(c.first, $2::bigint), least(c.size, $3::bigint) - 1) AS at
ORDER BY at;

-- name: dropped
-- What was last announced to be dropped of stream $1, and the event that says so.
SELECT drops.below, drops.announced, leaves.bytes
FROM drops
JOIN leaves ON leaves.stream = 'accesses' AND leaves.position = drops.announced
WHERE drops.stream = $1
ORDER BY drops.announced DESC
LIMIT 1;

-- name: dropped_below
-- Below which position bodies of stream $1 may have been dropped.
SELECT coalesce(max(below), 0) FROM drops WHERE stream = $1;

-- name: lowest_position
-- The lowest position of stream $1 that is stored, NULL where none is.
SELECT min(position) FROM leaves WHERE stream = $1;

-- name: nodes_in
-- Stored full subtrees of stream $1: on each level of $2 those numbered from $3 to before $4, at most 128 each.
SELECT found.level, found.number, found.hash
FROM unnest($2::smallint[], $3::bigint[], $4::bigint[]) AS wanted (level, first, stop)
CROSS JOIN LATERAL (
  SELECT level, number, hash FROM nodes
  WHERE stream = $1 AND level = wanted.level AND number >= wanted.first AND number < wanted.stop
  ORDER BY number
  LIMIT 128
) AS found;

-- name: bodies_in
-- The bytes of the leaves of stream $1 from position $2 on and before $3, in order; the caller asks for at most a tile.
SELECT bytes FROM leaves WHERE stream = $1 AND position >= $2 AND position < $3 ORDER BY position;

-- name: find_event
-- Where event $2 of tenant $1 is; the first place if its source ever sent it under two positions.
SELECT stream, position, event_id, occurred_at, received_at, bytes
FROM leaves
WHERE tenant = $1 AND event_id = $2
ORDER BY stream, position
LIMIT 1;

-- name: source_last
-- How far the source of stream $1 was when last asked.
SELECT source_last FROM progress WHERE stream = $1;

-- name: checkpoints_after
-- Checkpoints of stream $1 with a size over $2, smallest first, at most $3.
SELECT size, root, note, leaf_hashes FROM checkpoints WHERE stream = $1 AND size > $2 ORDER BY size LIMIT $3;

-- name: leaves_from
-- Whole leaves of stream $1 from position $2 on and before $3, at most $4, in order.
SELECT position, tenant, event_id, type, occurred_at, aggregate_type, aggregate_id, aggregate_version, customer,
       actor, trace, bytes, leaf_hash
FROM leaves
WHERE stream = $1 AND position >= $2 AND position < $3
ORDER BY position
LIMIT $4;

-- name: where_is_hash
-- Where the leaf with hash $2 of stream $1 is now. Walks the stream: only for saying what became of a lost leaf.
SELECT position FROM leaves WHERE stream = $1 AND leaf_hash = $2 ORDER BY position LIMIT 1;

-- name: lock_appending
-- One writer to stream $1 at a time, until the transaction ends: for a stream whose positions are given here.
SELECT pg_advisory_xact_lock(hashtextextended('amana audit append ' || $1, 0));

-- name: known_events
-- Which of the events of tenants $1 with ids $2 are stored.
SELECT DISTINCT leaves.event_id
FROM unnest($1::integer[], $2::uuid[]) AS given (tenant, event_id)
JOIN leaves ON leaves.tenant = given.tenant AND leaves.event_id = given.event_id;
