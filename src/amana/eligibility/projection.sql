-- The statements of the projection of standings. Names are unqualified: search_path decides.

-- name: make_stale
-- What events concern is stale: rows of customers whom they name, and rows whose exposure account they moved.
WITH concerned AS (
    SELECT tenant, customer, currency
    FROM ledger_standings
    JOIN unnest($1::integer[], $2::uuid[]) AS named (tenant, customer) USING (tenant, customer)
    UNION
    SELECT tenant, customer, currency
    FROM ledger_standings
    JOIN unnest($3::integer[], $4::uuid[]) AS accounts (tenant, control) USING (tenant, control)
)
UPDATE ledger_standings AS s SET moves = s.moves + 1, as_of = NULL
FROM concerned AS c
WHERE s.tenant = c.tenant AND s.customer = c.customer AND s.currency = c.currency;

-- name: find_owners
-- Whose exposure accounts these are, of customers who have a row.
SELECT DISTINCT tenant, customer
FROM ledger_standings
JOIN unnest($1::integer[], $2::uuid[]) AS accounts (tenant, control) USING (tenant, control);

-- name: claim_standings
-- Stale rows of customers who have none, before the ledger is asked about them; those that were made come back. Their
-- moves begin where no other row ever did. Nobody waits for the disk: a row that a crash takes away was filled by
-- nobody after it, and one that is made in its place has other moves.
INSERT INTO ledger_standings (tenant, customer, currency, control, moves)
SELECT tenant, customer, currency, control, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
FROM unnest($1::text::integer[], $2::text::uuid[], $3::text::text[], $4::text::uuid[])
         AS new (tenant, customer, currency, control),
     set_config('synchronous_commit', 'off', true)
ORDER BY tenant, customer, currency
ON CONFLICT DO NOTHING
RETURNING tenant, customer, currency, moves;

-- name: fill_standings
-- Keep what the ledger said, where no event moved it since before it was asked ($4). A row that somebody has in
-- hands is passed over: then it is made stale, or filled. Nobody waits for the disk: after a crash it is stale again.
WITH told AS (
    SELECT *
    FROM unnest($1::text::integer[], $2::text::uuid[], $3::text::text[], $4::text::bigint[],
                $5::text::timestamptz[], $6::text::bigint[], $7::text::bigint[], $8::text::bigint[],
                $9::text::bigint[], $10::text::integer[], $11::text::integer[], $12::text::bigint[],
                $13::text::bigint[], $14::date[], $15::date[], $16::date[], $17::text::bigint[])
        AS t (tenant, customer, currency, moves, as_of, exposure, loans_total, loans_open, loans_closed,
              worst_days_past_due, current_days_past_due, largest_principal_repaid, repaid_total, first_loan_on,
              last_closed_on, open_due_on, given_up)
), free AS (
    SELECT told.*
    FROM told
    JOIN ledger_standings AS s USING (tenant, customer, currency)
    CROSS JOIN set_config('synchronous_commit', 'off', true)
    WHERE s.moves = told.moves AND (s.as_of IS NULL OR s.as_of < told.as_of)
    FOR UPDATE OF s SKIP LOCKED
)
UPDATE ledger_standings AS s
SET (as_of, exposure, loans_total, loans_open, loans_closed, worst_days_past_due, current_days_past_due,
     largest_principal_repaid, repaid_total, first_loan_on, last_closed_on, open_due_on, given_up)
  = (free.as_of, free.exposure, free.loans_total, free.loans_open, free.loans_closed, free.worst_days_past_due,
     free.current_days_past_due, free.largest_principal_repaid, free.repaid_total, free.first_loan_on,
     free.last_closed_on, free.open_due_on, free.given_up)
FROM free
WHERE s.tenant = free.tenant AND s.customer = free.customer AND s.currency = free.currency;

-- name: clock
-- This database's clock.
SELECT clock_timestamp();

-- name: make_wrong_stale
-- Rows that differed from the ledger at an instant ($5) are stale, where no event moved them since, though by now
-- everything up to that instant is applied: none will tell of the difference. Those come back.
UPDATE ledger_standings AS s SET moves = s.moves + 1, as_of = NULL
FROM unnest($1::integer[], $2::uuid[], $3::text[], $4::bigint[], $5::timestamptz[])
         AS suspect (tenant, customer, currency, moves, asked_at),
     ledger_watermark AS w
WHERE w.stream = $6 AND w.proven_at >= suspect.asked_at
  AND s.tenant = suspect.tenant AND s.customer = suspect.customer AND s.currency = suspect.currency
  AND s.moves = suspect.moves AND s.as_of IS NOT NULL
RETURNING s.tenant, s.customer, s.currency;

-- name: look_before
-- This database's clock, and the first position of the stream ($2) not taken: before the source is asked for its end.
SELECT clock_timestamp() AS at, below FROM consumer_progress WHERE consumer = $1 AND stream = $2;

-- name: advance_watermark
-- Once everything up to the end ($3) is taken, and no letter of the stream is left unhandled, what was committed before
-- that look is here; with how many letters were given up on the way. No row comes back until then. The watermark never
-- goes back.
INSERT INTO ledger_watermark AS w (stream, position, proven_at, ledger_at, given_up)
SELECT progress.stream, $3::bigint, $4::timestamptz, $5::timestamptz, letters.given_up
FROM consumer_progress AS progress
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE letter.state = 'discarded') AS given_up,
           count(*) FILTER (WHERE letter.state NOT IN ('done', 'discarded')) AS open
    FROM consumer_letters AS letter
    WHERE letter.consumer = $1 AND letter.stream = $2
) AS letters
WHERE progress.consumer = $1 AND progress.stream = $2 AND progress.below > $3 AND letters.open = 0
ON CONFLICT (stream) DO UPDATE
    SET position = greatest(w.position, excluded.position), proven_at = greatest(w.proven_at, excluded.proven_at),
        ledger_at = greatest(w.ledger_at, excluded.ledger_at), given_up = greatest(w.given_up, excluded.given_up)
RETURNING clock_timestamp() - proven_at AS lag;

-- name: lag
-- How far behind the ledger the projection may be. No row before it was level with the ledger once.
SELECT clock_timestamp() - proven_at AS lag FROM ledger_watermark WHERE stream = $1;
