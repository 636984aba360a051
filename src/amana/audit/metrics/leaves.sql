-- name: events_from
-- What the trail reads of the events of stream $1 from position $2 on, at most $3, in order; gaps are left out.
SELECT position, tenant, type, occurred_at, aggregate_type, aggregate_id, customer, actor, bytes
FROM leaves
WHERE stream = $1 AND position >= $2
ORDER BY position
LIMIT $3;

-- name: loans_booked
-- The event that booked each loan (tenant $1, loan $2, by place), of those in the log. One by one, so that no plan reads
-- the log for it.
SELECT wanted.tenant, wanted.loan, booked.bytes
FROM unnest($1::integer[], $2::uuid[]) AS wanted (tenant, loan)
CROSS JOIN LATERAL (
    SELECT bytes FROM leaves
    WHERE tenant = wanted.tenant AND aggregate_id = wanted.loan AND type = 'LoanBooked'
    LIMIT 1
) AS booked;
