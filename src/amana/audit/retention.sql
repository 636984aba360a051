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
