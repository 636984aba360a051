-- name: keep
-- Keeps what was seen of stream $1: kinds $2, positions $3, details $4; of a kind no more rows than $5.
INSERT INTO irregularities (stream, kind, position, detail)
SELECT $1, given.*
FROM unnest($2::text[], $3::bigint[], $4::text[]) AS given (kind, position, detail)
WHERE (SELECT count(*) FROM irregularities WHERE stream = $1 AND irregularities.kind = given.kind) < $5::bigint
   OR EXISTS (SELECT FROM irregularities AS known
              WHERE known.stream = $1 AND known.kind = given.kind AND known.position = given.position)
ON CONFLICT ON CONSTRAINT irregularities_pkey
DO UPDATE SET times = irregularities.times + 1, detail = excluded.detail, last_at = clock_timestamp();

-- name: count
-- How many of stream $1 are kept, by kind.
SELECT kind, count(*) AS count FROM irregularities WHERE stream = $1 GROUP BY kind;

-- name: newest
-- Of stream $1 the last ones seen, newest first, at most $2.
SELECT kind, position, detail, times, first_at, last_at
FROM irregularities
WHERE stream = $1
ORDER BY last_at DESC
LIMIT $2;
