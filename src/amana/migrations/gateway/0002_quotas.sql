-- How much a key may ask: a token bucket of `quota_burst` requests that refills by `quota_rate` a second.
-- Both null: what the services give a key by default. Both 0: no quota.

ALTER TABLE gateway.api_keys
    ADD COLUMN quota_rate integer,
    ADD COLUMN quota_burst integer,
    -- A quota is whole, and its bucket holds at least one request; within these bounds the bucket's arithmetic is exact.
    ADD CONSTRAINT api_keys_quota CHECK (
        (quota_rate IS NULL AND quota_burst IS NULL)
        OR (quota_rate = 0 AND quota_burst = 0)
        OR (quota_rate BETWEEN 1 AND 1000000 AND quota_burst BETWEEN 1 AND 10000000)
    );
