-- The relay's statements. They run on the tables of outbox.sql, one source per search_path.

-- name: take_lease
-- Become leader under a new term, when there is no leader or its lease is over; never waits for a leader at work.
UPDATE stream
SET leader = $2, term = term + 1, lease_until = clock_timestamp() + make_interval(secs => $3)
WHERE stream = (
    SELECT stream FROM stream
    WHERE stream = $1 AND (leader IS NULL OR lease_until < clock_timestamp())
    FOR UPDATE SKIP LOCKED
)
RETURNING term;

-- name: renew_lease
-- Stay leader, when nobody else became it since.
UPDATE stream SET lease_until = clock_timestamp() + make_interval(secs => $4)
WHERE stream = $1 AND leader = $2 AND term = $3
RETURNING term;

-- name: release_lease
-- Let somebody else lead at once.
UPDATE stream SET leader = NULL, lease_until = NULL WHERE stream = $1 AND leader = $2 AND term = $3;

-- name: lock_stream
-- Where the sequencer stands, locked until the transaction ends; no row for a leader whose term is over.
SELECT since::text, until::text, after_seq, last_position
FROM stream
WHERE stream = $1 AND leader = $2 AND term = $3
FOR UPDATE;

-- name: is_any_new
-- Whether there may be something to sequence: a look without a lock, which a quiet stream is worth. Rows and not EXISTS:
-- that forgets ORDER BY and LIMIT, hopes to meet one soon, and where there is none has read the whole outbox.
SELECT until IS NOT NULL
    OR (SELECT true FROM outbox WHERE xid >= pg_snapshot_xmax(since) ORDER BY xid LIMIT 1) IS NOT NULL
    OR (SELECT true FROM outbox
        WHERE xid = ANY (ARRAY(SELECT pg_snapshot_xip(since))) ORDER BY xid LIMIT 1) IS NOT NULL
FROM stream
WHERE stream = $1;

-- name: difference
-- This statement's snapshot, and what it sees that `since` ($1) did not: at most about 2 x $2 rows, in order of seq.
-- What a snapshot did not see was running then (xip) or began later (from xmax on); a statement sees only what was
-- committed. ORDER BY xid keeps both on the index outbox(xid), however the planner guesses.
SELECT pg_current_snapshot()::text AS snapshot,
       ARRAY(
           SELECT seq FROM (
               (SELECT seq FROM outbox
                WHERE xid >= pg_snapshot_xmax($1::text::pg_snapshot)
                ORDER BY xid LIMIT $2)
               UNION ALL
               (SELECT seq FROM outbox
                WHERE xid = ANY (ARRAY(SELECT pg_snapshot_xip($1::text::pg_snapshot)))
                ORDER BY xid LIMIT $2)
           ) AS fresh
           ORDER BY seq
       ) AS seqs;

-- name: first_of_difference
-- Where a difference too large for one chunk begins: one pass over it.
SELECT min(seq) FROM outbox
WHERE (xid >= pg_snapshot_xmax($1::text::pg_snapshot)
       OR xid = ANY (ARRAY(SELECT pg_snapshot_xip($1::text::pg_snapshot))))
  AND pg_visible_in_snapshot(xid, (SELECT $2::text::pg_snapshot));

-- name: chunk_of_difference
-- The next rows after seq $3 of the difference between `since` ($1) and `until` ($2): a walk along the primary key.
SELECT ARRAY(
    SELECT seq FROM outbox
    WHERE seq > $3
      AND NOT pg_visible_in_snapshot(xid, (SELECT $1::text::pg_snapshot))
      AND pg_visible_in_snapshot(xid, (SELECT $2::text::pg_snapshot))
    ORDER BY seq LIMIT $4
) AS seqs;

-- name: allow_time
-- For the rest of this transaction: large differences are rare and may walk past millions of rows.
SELECT set_config('statement_timeout', $1, true);

-- name: finish_difference
-- Dense positions after the last one ($3), in the order given ($4); then all that `until` ($2) sees has one.
WITH placed AS (
    INSERT INTO positions (position, seq)
    SELECT $3::bigint + place, seq FROM unnest($4::bigint[]) WITH ORDINALITY AS fresh (seq, place)
)
UPDATE stream
SET since = $2::text::pg_snapshot, until = NULL, after_seq = 0, last_position = $3::bigint + cardinality($4::bigint[])
WHERE stream = $1;

-- name: continue_difference
-- The same of a part of the difference up to `until` ($2): up to and with the last seq given.
WITH placed AS (
    INSERT INTO positions (position, seq)
    SELECT $3::bigint + place, seq FROM unnest($4::bigint[]) WITH ORDINALITY AS fresh (seq, place)
)
UPDATE stream
SET until = $2::text::pg_snapshot, after_seq = ($4::bigint[])[cardinality($4::bigint[])],
    last_position = $3::bigint + cardinality($4::bigint[])
WHERE stream = $1;

-- name: published
-- The highest position such that it and all before it are acknowledged.
SELECT published FROM stream WHERE stream = $1;

-- name: advance_published
-- Everything up to $4 is acknowledged; refused to a leader whose term is over.
UPDATE stream SET published = $4
WHERE stream = $1 AND leader = $2 AND term = $3 AND published < $4
RETURNING published;

-- name: lag
-- For the gauges: how much waits, and the ids (UUIDv7, so their times) of the oldest. Counts stop at $2; while a large
-- difference is under way the count is an upper estimate.
SELECT last_position - published AS unpublished,
       (SELECT event_id FROM positions JOIN outbox USING (seq) WHERE position = published + 1) AS first_unpublished,
       CASE WHEN until IS NULL
            THEN (SELECT count(*) FROM (SELECT FROM outbox
                                        WHERE xid >= pg_snapshot_xmax(since) ORDER BY xid LIMIT $2) AS late)
               + (SELECT count(*) FROM (SELECT FROM outbox
                                        WHERE xid = ANY (ARRAY(SELECT pg_snapshot_xip(since)))
                                        ORDER BY xid LIMIT $2) AS waited)
            ELSE (SELECT coalesce(max(seq), 0) FROM outbox) - after_seq
       END AS unsequenced,
       (SELECT event_id FROM outbox WHERE xid >= pg_snapshot_xmax(since) ORDER BY xid LIMIT 1) AS first_unsequenced
FROM stream
WHERE stream = $1;
