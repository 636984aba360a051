-- name: loans_booked
-- The event that booked each loan (tenant $1, loan $2, by place), of those in the log.
SELECT tenant, aggregate_id, bytes
FROM leaves
WHERE (tenant, aggregate_id) IN (SELECT * FROM unnest($1::integer[], $2::uuid[])) AND type = 'LoanBooked';
