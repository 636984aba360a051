-- name: add_latencies
-- Rows of histogram buckets that process $2 measured until $1; what is there already stays and counts once.
INSERT INTO route_latencies (measured_at, instance, service, method, route, status_class, le_us, requests, total_us)
SELECT $1, $2, $3, method, route, status_class, le_us, requests, total_us
FROM unnest($4::text[], $5::text[], $6::text[], $7::integer[], $8::bigint[], $9::bigint[])
     AS one (method, route, status_class, le_us, requests, total_us)
ON CONFLICT DO NOTHING;
