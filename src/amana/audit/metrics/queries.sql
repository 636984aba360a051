-- name: next_position
-- The first position of stream $1 that the trail has not looked at.
SELECT next_position FROM progress WHERE stream = $1;

-- name: move_on
-- Moves stream $1 from $2 to $3; no row when somebody else did, or everything was forgotten.
UPDATE progress SET next_position = $3 WHERE stream = $1 AND next_position = $2 RETURNING stream;

-- name: add_rows
-- Events of stream $1, but for those older than what is kept long enough to be counted.
INSERT INTO audit_trail (stream, occurred_at, tenant, position, type, aggregate, customer, actor, kind, product, policy,
                         policy_version, outcome, code, currency, amount, amount_band)
SELECT $1, one.*
FROM unnest($2::timestamptz[], $3::integer[], $4::bigint[], $5::text[], $6::uuid[], $7::uuid[], $8::text[], $9::text[],
            $10::text[], $11::text[], $12::integer[], $13::text[], $14::text[], $15::text[], $16::bigint[],
            $17::bigint[])
     AS one (occurred_at)
WHERE one.occurred_at >= bucket('day', now() - INTERVAL '390 days')
ON CONFLICT DO NOTHING;

-- name: upkeep
-- Makes partitions ahead and drops those that are over, where the extension does not.
SELECT made, dropped FROM upkeep();

-- name: decisions
-- Decisions of tenant $1 per $2, from $3 to before $4; of product $5, policy $6, outcome $7, kind $8 (null: any).
SELECT bucket, product, policy, policy_version, outcome, kind, sum(decisions)::bigint AS decisions
FROM decisions
WHERE tenant = $1 AND per = $2 AND bucket >= $3 AND bucket < $4
  AND ($5::text IS NULL OR product = $5) AND ($6::text IS NULL OR policy = $6)
  AND ($7::text IS NULL OR outcome = $7) AND ($8::text IS NULL OR kind = $8)
GROUP BY bucket, product, policy, policy_version, outcome, kind
ORDER BY bucket, product, policy, policy_version, outcome, kind
LIMIT $9;

-- name: transfers
-- Transfers of tenant $1 per $2, from $3 to before $4; of product $5, kind $6, code $7, currency $8 (null: any).
SELECT bucket, product, kind, code, currency, amount_band, sum(transfers)::bigint AS transfers, sum(amount) AS amount
FROM transfers
WHERE tenant = $1 AND per = $2 AND bucket >= $3 AND bucket < $4
  AND ($5::text IS NULL OR product = $5) AND ($6::text IS NULL OR kind = $6)
  AND ($7::text IS NULL OR code = $7) AND ($8::text IS NULL OR currency = $8)
GROUP BY bucket, product, kind, code, currency, amount_band
ORDER BY bucket, product, kind, code, currency, amount_band
LIMIT $9;

-- name: latencies
-- Histograms per $1, from $2 to before $3; of service $4, method $5, route $6, class of status $7 (null: any).
SELECT bucket, service, method, route,
       array_agg(le_us ORDER BY le_us) AS bounds_us, array_agg(requests ORDER BY le_us) AS requests,
       sum(total_us)::bigint AS total_us, sum(failed)::bigint AS failed
FROM (
    SELECT bucket, service, method, route, le_us, sum(requests)::bigint AS requests, sum(total_us) AS total_us,
           coalesce(sum(requests) FILTER (WHERE status_class = '5xx'), 0) AS failed
    FROM latencies
    WHERE per = $1 AND bucket >= $2 AND bucket < $3
      AND ($4::text IS NULL OR service = $4) AND ($5::text IS NULL OR method = $5)
      AND ($6::text IS NULL OR route = $6) AND ($7::text IS NULL OR status_class = $7)
    GROUP BY bucket, service, method, route, le_us
) AS merged
GROUP BY bucket, service, method, route
ORDER BY bucket, service, method, route
LIMIT $8;
