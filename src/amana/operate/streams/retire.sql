-- What `amana events retire` does in the main database, as the owner, with search_path at the service of the consumer.

-- name: stands
-- How far a consumer is in a stream, since when, whether that is longer than an hour ago, how many letters of it are
-- open, and whether its service is there ($3 is the role that it signs in as). No row where it never began.
SELECT progress.below, progress.advanced_at, progress.advanced_at < clock_timestamp() - interval '1 hour' AS is_quiet,
       (SELECT count(*) FROM consumer_letters AS letter
        WHERE letter.consumer = $1 AND letter.stream = $2 AND letter.state IN ('dead', 'parked', 'waiting')) AS letters,
       EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND usename = $3) AS is_there
FROM consumer_progress AS progress
WHERE progress.consumer = $1 AND progress.stream = $2;

-- name: retire
-- The consumer is no longer one of the stream's, unless it moved since it was said to be at $3.
DELETE FROM consumer_progress WHERE consumer = $1 AND stream = $2 AND below = $3 RETURNING below;

-- name: forget_taken
-- What it had taken ahead of a gap.
DELETE FROM consumer_taken WHERE consumer = $1 AND stream = $2;

-- name: forget_standings
-- Standings that it kept level with the ledger: no event will ever make them stale.
DELETE FROM eligibility.ledger_standings;

-- name: forget_watermark
-- And up to where they were level.
DELETE FROM eligibility.ledger_watermark WHERE stream = $1;

-- name: last_position
-- The last position that was given; run in the schema of the stream.
SELECT last_position FROM stream;
