-- name: first_kept_segment
-- The first of the segments $1 to before $2 that holds an instant at or after $3; NULL for none.
SELECT min(segment) FROM segments WHERE segment >= $1 AND segment < $2 AND last_at >= $3;

-- name: events_before
-- How many events of each type stream $1 has before position $2 and before instant $3, and the bytes of their bodies.
SELECT type, count(*) AS events, sum(octet_length(bytes))::bigint AS bytes, min(occurred_at) AS oldest
FROM leaves
WHERE stream = $1 AND position < $2 AND occurred_at < $3
GROUP BY type
ORDER BY type;

-- name: drop_postings
-- Drops the part of the index that begins with segment $1; whether there was one.
SELECT drop_postings($1);

-- name: raise_floor
-- Nothing before position $2 of stream $1 is indexed any more.
UPDATE indexing SET floor = $2 WHERE stream = $1 AND floor < $2 AND size >= $2;

-- name: first_open_loan
-- The first leaf of stream $1, from position $2 on and before $3, of a loan that is not over there.
SELECT min(first)
FROM (SELECT min(position) AS first,
             (array_agg(type ORDER BY position DESC)
              FILTER (WHERE type IN ('LoanBooked', 'LoanClosed', 'LoanReversed', 'RepaymentReversed')))[1] AS last
      FROM leaves
      WHERE stream = $1 AND position >= $2 AND position < $3 AND aggregate_type = 'loan'
      GROUP BY tenant, aggregate_id) AS loans
WHERE last IN ('LoanBooked', 'RepaymentReversed');

-- name: announce_drop
-- Notes that leaves of stream $1 before position $2 are to go, by the event at position $3 of the stream of accesses.
INSERT INTO drops (stream, below, announced) VALUES ($1, $2, $3);

-- name: last_announced
-- Where the last event is that says what is to go; NULL where nothing ever was.
SELECT max(announced) FROM drops;

-- name: drop_leaves
-- Drops the leaves of stream $1 from position $2 on and before $3; their hashes stay with the checkpoints.
DELETE FROM leaves WHERE stream = $1 AND position >= $2 AND position < $3;
