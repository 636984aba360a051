-- name: open_indexing
-- Makes the row of stream $1 if there is none.
INSERT INTO indexing (stream, size) VALUES ($1, 0) ON CONFLICT ON CONSTRAINT indexing_pkey DO NOTHING;

-- name: lock_indexing
-- How far stream $1 is indexed, for whoever extends the index; no row while another does.
SELECT size FROM indexing WHERE stream = $1 FOR UPDATE SKIP LOCKED;

-- name: bodies_from
-- Bytes of the leaves of stream $1 from position $2 on, at most $3; the caller stops at a gap.
SELECT position, bytes FROM leaves WHERE stream = $1 AND position >= $2 ORDER BY position LIMIT $3;

-- name: make_postings
-- Makes the partition that segment $1 is in, if there is none.
SELECT make_postings($1);

-- name: add_postings
-- Adds places: keys $1, segments $2, places $3, each after those that the row has.
INSERT INTO postings (key, segment, places)
SELECT given.* FROM unnest($1::bigint[], $2::bigint[], $3::bytea[]) AS given (key, segment, places)
ON CONFLICT (key, segment) DO UPDATE SET places = postings.places || excluded.places;

-- name: widen_segments
-- Notes the times in segments: numbers $1, earliest $2, latest $3.
INSERT INTO segments (segment, first_at, last_at)
SELECT given.* FROM unnest($1::bigint[], $2::timestamptz[], $3::timestamptz[]) AS given (segment, first_at, last_at)
ON CONFLICT ON CONSTRAINT segments_pkey DO UPDATE SET
  first_at = least(segments.first_at, excluded.first_at), last_at = greatest(segments.last_at, excluded.last_at);

-- name: widen_blocks
-- The same of blocks.
INSERT INTO blocks (block, first_at, last_at)
SELECT given.* FROM unnest($1::bigint[], $2::timestamptz[], $3::timestamptz[]) AS given (block, first_at, last_at)
ON CONFLICT ON CONSTRAINT blocks_pkey DO UPDATE SET
  first_at = least(blocks.first_at, excluded.first_at), last_at = greatest(blocks.last_at, excluded.last_at);

-- name: note_indexed
-- Stream $1 is indexed up to before position $2.
UPDATE indexing SET size = $2 WHERE stream = $1;

-- name: indexed_to
-- How far the streams $1 are indexed, and from where on.
SELECT stream, floor, size FROM indexing WHERE stream = ANY($1::text[]);

-- name: standings
-- How the streams $1 stand: from where on and how far they are indexed, how much is sealed, how much was received.
SELECT wanted.stream, coalesce(indexing.floor, 0) AS floor, coalesce(indexing.size, 0) AS size,
       coalesce((SELECT max(size) FROM checkpoints WHERE checkpoints.stream = wanted.stream), 0) AS sealed,
       coalesce((SELECT max(position) FROM leaves WHERE leaves.stream = wanted.stream), -1) + 1 AS received
FROM unnest($1::text[]) AS wanted (stream)
LEFT JOIN indexing ON indexing.stream = wanted.stream;

-- name: segments_of_time
-- The first and the last of the segments $1 to before $2 that hold an instant from $3 to before $4; NULLs for none.
SELECT min(segment) AS first, max(segment) AS last
FROM segments
WHERE segment >= $1 AND segment < $2 AND last_at >= $3 AND first_at < $4;

-- name: segments_within
-- Which of the segments $1 lie wholly in the time from $2 to before $3.
SELECT segment FROM segments WHERE segment = ANY($1::bigint[]) AND first_at >= $2 AND last_at < $3;

-- name: count_postings
-- How many segments, counted up to $4, from $2 to before $3 have places of each of the keys $1.
SELECT wanted.key, found.count
FROM unnest($1::bigint[]) AS wanted (key)
CROSS JOIN LATERAL (
  SELECT count(*) AS count
  FROM (SELECT FROM postings WHERE key = wanted.key AND segment >= $2 AND segment < $3 LIMIT $4) AS counted
) AS found;

-- name: postings_up
-- The first $4 segments from $2 to before $3 of each of the keys $1, with their places.
SELECT wanted.key, found.segment, found.places
FROM unnest($1::bigint[]) AS wanted (key)
CROSS JOIN LATERAL (
  SELECT segment, places FROM postings
  WHERE key = wanted.key AND segment >= $2 AND segment < $3
  ORDER BY segment
  LIMIT $4
) AS found;

-- name: postings_down
-- The last $4 segments from $2 to before $3 of each of the keys $1, with their places.
SELECT wanted.key, found.segment, found.places
FROM unnest($1::bigint[]) AS wanted (key)
CROSS JOIN LATERAL (
  SELECT segment, places FROM postings
  WHERE key = wanted.key AND segment >= $2 AND segment < $3
  ORDER BY segment DESC
  LIMIT $4
) AS found;

-- name: postings_at
-- The places of the keys $1 in the segments $2.
SELECT wanted.key, place.segment, found.places
FROM unnest($2::bigint[]) AS place (segment)
CROSS JOIN unnest($1::bigint[]) AS wanted (key)
CROSS JOIN LATERAL (
  SELECT places FROM postings WHERE key = wanted.key AND segment = place.segment LIMIT 1
) AS found;

-- name: blocks_of_time
-- Which of the 16 blocks of each of the segments $1 can hold an instant from $2 to before $3.
SELECT found.block
FROM unnest($1::bigint[]) AS wanted (segment)
CROSS JOIN LATERAL (
  SELECT block FROM blocks
  WHERE block >= wanted.segment * 16 AND block < wanted.segment * 16 + 16 AND last_at >= $2 AND first_at < $3
  ORDER BY block
  LIMIT 16
) AS found;

-- name: events_at
-- Tenant $1's events at the positions $3 of stream $2 that happened from $4 to before $5, in order of position.
SELECT found.*
FROM unnest($3::bigint[]) AS wanted (position)
CROSS JOIN LATERAL (
  SELECT stream, position, event_id, occurred_at, received_at, bytes
  FROM leaves
  WHERE stream = $2 AND position = wanted.position AND tenant = $1 AND occurred_at >= $4 AND occurred_at < $5
  LIMIT 1
) AS found
ORDER BY found.position;
