-- How much all keys of a tenant may ask together, beside what each may: a token bucket of `quota_burst` requests that
-- refills by `quota_rate` a second. Both null: as much as its keys may.

ALTER TABLE gateway.tenants
    ADD COLUMN quota_rate integer,
    ADD COLUMN quota_burst integer,
    -- Whole, with room for one request at least, and within the bounds in which the bucket's arithmetic is exact.
    ADD CONSTRAINT tenants_quota CHECK (
        (quota_rate IS NULL AND quota_burst IS NULL)
        OR (quota_rate BETWEEN 1 AND 1000000 AND quota_burst BETWEEN 1 AND 10000000)
    ),
    -- The platform's own key, with which services call one another, is never held up.
    ADD CONSTRAINT tenants_platform_has_no_quota CHECK (tenant > 0 OR quota_rate IS NULL);
