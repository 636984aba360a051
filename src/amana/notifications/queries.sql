-- name: insert_requests
-- New requests; one that is there already (the same event and template) stays as it is.
INSERT INTO requests (tenant, request_id, event_id, template, wording, customer, about, figures, occurred_at, expires_at)
SELECT * FROM unnest($1::integer[], $2::uuid[], $3::uuid[], $4::text[], $5::smallint[], $6::uuid[], $7::uuid[],
                     $8::jsonb[], $9::timestamptz[], $10::timestamptz[])
ON CONFLICT (tenant, request_id) DO NOTHING;

-- name: list_requests
-- A page of a tenant's requests after a number, of one state where given; but for those that leave.
SELECT request_id, number, event_id, template, wording, customer, about, figures, occurred_at, made_at, expires_at,
       state, attempts, due_at, lease, error, settled_at
FROM requests
WHERE tenant = $1 AND number > $2 AND ($3::text IS NULL OR state = $3)
      AND (leaving_at IS NULL OR leaving_at < clock_timestamp() - INTERVAL '1 minute')
ORDER BY number
LIMIT $4;

-- name: list_of_customer
-- The same for one customer.
SELECT request_id, number, event_id, template, wording, customer, about, figures, occurred_at, made_at, expires_at,
       state, attempts, due_at, lease, error, settled_at
FROM requests
WHERE tenant = $1 AND number > $2 AND ($3::text IS NULL OR state = $3) AND customer = $5
      AND (leaving_at IS NULL OR leaving_at < clock_timestamp() - INTERVAL '1 minute')
ORDER BY number
LIMIT $4;

-- name: claim
-- Lease what is due to one sender: what waits, and what another claimed and never reported. Nobody waits for a lock.
UPDATE requests SET state = 'claimed', lease = $2, due_at = clock_timestamp() + make_interval(secs => $4),
                    attempts = attempts + 1
WHERE (tenant, request_id) IN (
    SELECT tenant, request_id FROM requests
    WHERE tenant = $1 AND state IN ('waiting', 'claimed') AND due_at <= clock_timestamp()
          AND expires_at > clock_timestamp() AND attempts < $5
    ORDER BY due_at
    LIMIT $3
    FOR UPDATE SKIP LOCKED
)
RETURNING request_id, number, event_id, template, wording, customer, about, figures, occurred_at, made_at, expires_at,
          state, attempts, due_at, lease, error, settled_at;

-- name: lock_requests
-- What reports are about, locked in the order of the key.
SELECT request_id, state, attempts, lease, error FROM requests
WHERE tenant = $1 AND request_id = ANY ($2::uuid[])
      AND (leaving_at IS NULL OR leaving_at < clock_timestamp() - INTERVAL '1 minute')
ORDER BY request_id
FOR UPDATE;

-- name: settle
-- A request is delivered, or failed for good.
UPDATE requests SET state = $3, error = $4, settled_at = clock_timestamp() WHERE tenant = $1 AND request_id = $2;

-- name: put_back
-- A request failed and is tried again later.
UPDATE requests SET state = 'waiting', error = $3, due_at = clock_timestamp() + make_interval(secs => $4)
WHERE tenant = $1 AND request_id = $2;

-- name: sweep
-- Settle what nobody may claim any more: its time is over, or its attempts are and so is the last lease.
UPDATE requests SET state = CASE WHEN attempts >= $1 THEN 'failed' ELSE 'expired' END,
                    error = coalesce(error, CASE WHEN attempts >= $1 THEN 'no_report' END),
                    settled_at = clock_timestamp()
WHERE (tenant, request_id) IN (
    SELECT tenant, request_id FROM requests
    WHERE state IN ('waiting', 'claimed') AND (state = 'waiting' OR due_at <= clock_timestamp())
          AND (expires_at <= clock_timestamp() OR attempts >= $1 AND due_at <= clock_timestamp())
    LIMIT $2
    FOR UPDATE SKIP LOCKED
);

-- name: leave
-- Requests that were settled more than $1 days ago are out of sight for a minute, together as $5, at most $2; but none of
-- the customers $4 of tenants $3, who are held, and none that leaves already.
UPDATE requests SET leaving = $5, leaving_at = clock_timestamp()
WHERE (tenant, request_id) IN (
    SELECT tenant, request_id FROM requests
    WHERE settled_at < clock_timestamp() - make_interval(days => $1)
      AND (leaving_at IS NULL OR leaving_at < clock_timestamp() - INTERVAL '1 minute')
      AND NOT EXISTS (SELECT FROM unnest($3::integer[], $4::uuid[]) AS held (tenant, customer)
                      WHERE held.tenant = requests.tenant AND held.customer = requests.customer)
    ORDER BY settled_at
    LIMIT $2
    FOR UPDATE OF requests SKIP LOCKED
);

-- name: stay
-- Of the requests that leave as $1 those of the customers $3 of tenants $2, who are held, are back in sight.
UPDATE requests SET leaving = NULL, leaving_at = NULL
FROM unnest($2::integer[], $3::uuid[]) AS held (tenant, customer)
WHERE leaving = $1 AND held.tenant = requests.tenant AND held.customer = requests.customer;

-- name: prune
-- The requests that leave as $1 go. Half of their minute must be left, for this transaction to end in.
DELETE FROM requests WHERE leaving = $1 AND leaving_at > clock_timestamp() - INTERVAL '30 seconds';

-- name: count_open
-- How many requests are open, by state; for the gauges.
SELECT state, count(*) AS requests FROM requests WHERE state IN ('waiting', 'claimed') GROUP BY state;
