-- What a consumer keeps of its progress, in a schema of its own. Names are unqualified: search_path decides.
--
-- The tables are made by the schema's migration (notifications/0001 is the example). `consumer_progress` has a row for
-- each stream that was begun; it is locked by every transaction that takes events, so that the processes of one
-- consumer take turns, stream by stream, and a paused one that wakes finds everything taken.

-- name: begin_stream
-- Begin a stream at a position; a stream that was begun before stays where it is.
INSERT INTO consumer_progress (consumer, stream, below) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING;

-- name: lock_progress
-- How far the streams are, locked until the transaction ends, always in the same order.
SELECT stream, below FROM consumer_progress WHERE consumer = $1 ORDER BY stream FOR UPDATE;

-- name: look
-- Which of the places were taken ahead of a gap, by their number in the lists, and whether any letter is open.
SELECT ARRAY(SELECT asked.number
             FROM unnest($2::text[], $3::bigint[]) WITH ORDINALITY AS asked (stream, position, number)
             JOIN consumer_taken AS taken
                 ON taken.consumer = $1 AND taken.stream = asked.stream AND taken.position = asked.position) AS taken,
       EXISTS (SELECT FROM consumer_letters
               WHERE consumer = $1 AND state IN ('dead', 'parked', 'waiting')) AS letters;

-- name: take_ahead
-- Places that are taken now, ahead of a gap. The lock on the stream's row is held, so nobody else takes them.
INSERT INTO consumer_taken (consumer, stream, position)
SELECT $1, $2, unnest($3::bigint[]);

-- name: advance
-- Everything before $3 is taken: `below` is there now, or behind the unbroken run of places that were taken ahead and
-- begin there, at most $4 of them, which are forgotten.
WITH run AS (
    SELECT count(*) AS length
    FROM (SELECT position, row_number() OVER (ORDER BY position) - 1 + $3::bigint AS unbroken
          FROM (SELECT position FROM consumer_taken WHERE consumer = $1 AND stream = $2 AND position >= $3::bigint
                ORDER BY position LIMIT $4) AS first) AS numbered
    WHERE position = unbroken
), forgotten AS (
    DELETE FROM consumer_taken
    WHERE consumer = $1 AND stream = $2 AND position < $3::bigint + (SELECT length FROM run)
)
UPDATE consumer_progress SET below = $3::bigint + (SELECT length FROM run), advanced_at = clock_timestamp()
WHERE consumer = $1 AND stream = $2
RETURNING below;

-- name: progress
-- How far each stream is: below what everything was taken, and how many above it.
SELECT stream, below, advanced_at,
       (SELECT count(*) FROM consumer_taken AS taken
        WHERE taken.consumer = progress.consumer AND taken.stream = progress.stream) AS ahead
FROM consumer_progress AS progress
WHERE consumer = $1
ORDER BY stream;

-- name: blocked
-- Which of the keys have open letters: the lowest position that waits for a gap, or null behind a dead one.
SELECT key,
       bool_or(state IN ('dead', 'parked')) AS blocked,
       min(position) FILTER (WHERE state = 'waiting') AS waiting
FROM consumer_letters
WHERE consumer = $1 AND key = ANY ($2::bytea[]) AND key <> '' AND stream IS NOT NULL
      AND state IN ('dead', 'parked', 'waiting')
GROUP BY key;

-- name: versions
-- The versions applied of these aggregates.
SELECT tenant, aggregate, version
FROM consumer_versions
JOIN unnest($2::integer[], $3::uuid[]) AS asked (tenant, aggregate) USING (tenant, aggregate)
WHERE consumer = $1;

-- name: note_versions
-- Remember what was applied.
INSERT INTO consumer_versions (consumer, tenant, aggregate, version)
SELECT $1, tenant, aggregate, version
FROM unnest($2::integer[], $3::uuid[], $4::bigint[]) AS applied (tenant, aggregate, version)
ON CONFLICT (consumer, tenant, aggregate)
    DO UPDATE SET version = excluded.version WHERE excluded.version > consumer_versions.version;

-- name: keep
-- A letter; a foreign message that was kept before (the same bytes from the same place) is not kept again.
INSERT INTO consumer_letters
    (consumer, state, key, topic, partition, "offset", stream, position, headers, value, reason, error, attempts)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
ON CONFLICT DO NOTHING
RETURNING letter;

-- name: open_letters
-- How many letters are open, in all and of the fullest of these keys, each counted to a bound ($3, $4).
SELECT (SELECT count(*) FROM (SELECT FROM consumer_letters
                              WHERE consumer = $1 AND state IN ('dead', 'parked', 'waiting')
                              LIMIT $3) AS counted) AS total,
       (SELECT coalesce(max(counted), 0)
        FROM unnest($2::bytea[]) AS asked (key)
        CROSS JOIN LATERAL (SELECT count(*) AS counted
                            FROM (SELECT FROM consumer_letters
                                  WHERE consumer = $1 AND key = asked.key AND state IN ('dead', 'parked', 'waiting')
                                  LIMIT $4) AS of_key) AS per_key) AS fullest;

-- name: letters
-- Letters by number, after one ($2), of a state ($3) and a key ($4) where given.
SELECT letter, state, key, topic, partition, "offset", stream, position, headers, value, reason, error, attempts,
       kept_at, settled_at, told_at
FROM consumer_letters
WHERE consumer = $1 AND letter > $2 AND ($3::text IS NULL OR state = $3) AND ($4::bytea IS NULL OR key = $4)
ORDER BY letter
LIMIT $5;

-- name: find_letter
-- One letter by its number.
SELECT letter, state, key, stream, position, reason FROM consumer_letters WHERE consumer = $1 AND letter = $2;

-- name: first_of_key
-- The open letter of a key that stands first in its stream, locked.
SELECT letter, state, key, topic, partition, "offset", stream, position, headers, value, reason, error, attempts
FROM consumer_letters
WHERE consumer = $1 AND key = $2 AND stream IS NOT NULL AND state IN ('dead', 'parked', 'waiting')
ORDER BY position
LIMIT 1
FOR UPDATE;

-- name: lock_letter
-- One open letter, locked.
SELECT letter, state, key, topic, partition, "offset", stream, position, headers, value, reason, error, attempts
FROM consumer_letters
WHERE consumer = $1 AND letter = $2 AND state IN ('dead', 'parked', 'waiting')
FOR UPDATE;

-- name: dead
-- The dead letters that a redrive of everything begins with, after one ($2).
SELECT letter, key, stream FROM consumer_letters
WHERE consumer = $1 AND letter > $2 AND state = 'dead'
ORDER BY letter
LIMIT $3;

-- name: ripe
-- Keys whose first waiting letter lacks nothing any more: all below it was taken.
SELECT DISTINCT key FROM consumer_letters
JOIN consumer_progress USING (consumer, stream)
WHERE consumer = $1 AND state = 'waiting' AND position <= below
LIMIT $2;

-- name: settle
-- A letter is done or discarded.
UPDATE consumer_letters SET state = $3, settled_at = clock_timestamp() WHERE consumer = $1 AND letter = $2;

-- name: prune
-- Letters that were settled more than $2 days ago go, at most $3; those that somebody looks at wait for the next time.
DELETE FROM consumer_letters
WHERE (consumer, letter) IN (
    SELECT consumer, letter FROM consumer_letters
    WHERE consumer = $1 AND state IN ('done', 'discarded')
          AND settled_at < clock_timestamp() - make_interval(days => $2)
    ORDER BY settled_at
    LIMIT $3
    FOR UPDATE SKIP LOCKED
);

-- name: died_again
-- A letter failed again, or for the first time when its turn came; the topic is told once.
UPDATE consumer_letters SET state = 'dead', reason = $3, error = $4, attempts = attempts + $5
WHERE consumer = $1 AND letter = $2;

-- name: untold
-- Dead letters that the dead-letter topic has not got yet.
SELECT letter, state, key, topic, partition, "offset", stream, position, headers, value, reason, error, attempts
FROM consumer_letters
WHERE consumer = $1 AND state = 'dead' AND told_at IS NULL
ORDER BY letter
LIMIT $2;

-- name: told
-- The dead-letter topic has these.
UPDATE consumer_letters SET told_at = clock_timestamp() WHERE consumer = $1 AND letter = ANY ($2::bigint[]);

-- name: count_letters
-- Open letters by state, and the keys that they hold up.
SELECT state, count(*) AS letters, count(DISTINCT key) AS keys
FROM consumer_letters
WHERE consumer = $1 AND state IN ('dead', 'parked', 'waiting')
GROUP BY state;
