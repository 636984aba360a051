-- name: next_position
-- The first position of stream $1 that the trail has not looked at.
SELECT next_position FROM progress WHERE stream = $1;

-- name: move_on
-- Moves stream $1 from $2 to $3; no row when somebody else did, or everything was forgotten. What the transaction then
-- adds is planned for the arrays that it has, and not for any.
UPDATE progress SET next_position = $3 WHERE stream = $1 AND next_position = $2
RETURNING set_config('plan_cache_mode', 'force_custom_plan', true);

-- name: add_rows
-- Events of stream $1 with their own columns $2 to $6, each of shape $7, and the shapes; but for events older than what
-- is kept long enough to be counted. None may be there already: a unique violation says that one is.
INSERT INTO audit_trail (stream, occurred_at, tenant, position, type, aggregate, customer, actor, kind, product, policy,
                         policy_version, outcome, code, currency, amount, amount_band)
SELECT $1, one.occurred_at, shape.tenant, one.position, shape.type, one.aggregate, one.customer, shape.actor, shape.kind,
       shape.product, shape.policy, shape.policy_version, shape.outcome, shape.code, shape.currency, one.amount,
       shape.amount_band
FROM unnest($2::timestamptz[], $3::bigint[], $4::uuid[], $5::uuid[], $6::bigint[], $7::bigint[])
     AS one (occurred_at, position, aggregate, customer, amount, shape)
JOIN unnest($8::integer[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::integer[], $15::text[],
            $16::text[], $17::text[], $18::bigint[])
     WITH ORDINALITY
     AS shape (tenant, type, actor, kind, product, policy, policy_version, outcome, code, currency, amount_band, number)
     ON shape.number = one.shape
WHERE one.occurred_at >= bucket('day', now() - INTERVAL '390 days')
ORDER BY one.position;

-- name: add_missing_rows
-- The same, where some may be there already: those stay as they are, and are not counted again.
INSERT INTO audit_trail (stream, occurred_at, tenant, position, type, aggregate, customer, actor, kind, product, policy,
                         policy_version, outcome, code, currency, amount, amount_band)
SELECT $1, one.occurred_at, shape.tenant, one.position, shape.type, one.aggregate, one.customer, shape.actor, shape.kind,
       shape.product, shape.policy, shape.policy_version, shape.outcome, shape.code, shape.currency, one.amount,
       shape.amount_band
FROM unnest($2::timestamptz[], $3::bigint[], $4::uuid[], $5::uuid[], $6::bigint[], $7::bigint[])
     AS one (occurred_at, position, aggregate, customer, amount, shape)
JOIN unnest($8::integer[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::integer[], $15::text[],
            $16::text[], $17::text[], $18::bigint[])
     WITH ORDINALITY
     AS shape (tenant, type, actor, kind, product, policy, policy_version, outcome, code, currency, amount_band, number)
     ON shape.number = one.shape
WHERE one.occurred_at >= bucket('day', now() - INTERVAL '390 days')
ORDER BY one.position
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
