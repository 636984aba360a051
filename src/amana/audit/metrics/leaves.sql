-- name: events_from
-- What the trail reads of the events of stream $1 from position $2 on, at most $3, in order; gaps are left out.
SELECT position, tenant, type, occurred_at, aggregate_type, aggregate_id, customer, actor, bytes
FROM leaves
WHERE stream = $1 AND position >= $2
ORDER BY position
LIMIT $3;

-- name: loans_booked
-- The event that booked each loan (tenant $1, loan $2, by place), of those in the log.
SELECT tenant, aggregate_id, bytes
FROM leaves
WHERE (tenant, aggregate_id) IN (SELECT * FROM unnest($1::integer[], $2::uuid[])) AND type = 'LoanBooked';
