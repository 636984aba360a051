-- name: find_key
-- The live key with this id, and its tenant's quota; a revoked one is as absent as one that never was.
SELECT k.key_id, k.tenant, k.secret_hash, k.scopes, k.quota_rate, k.quota_burst,
    t.quota_rate AS tenant_rate, t.quota_burst AS tenant_burst
FROM api_keys AS k JOIN tenants AS t USING (tenant)
WHERE k.key_id = $1 AND k.revoked_at IS NULL;

-- name: list_tenants
-- The lenders; the platform itself is not one.
SELECT tenant, slug, name, quota_rate, quota_burst FROM tenants WHERE tenant > 0 ORDER BY tenant;

-- name: find_tenant
-- The tenant called `slug`.
SELECT tenant, slug, name, quota_rate, quota_burst FROM tenants WHERE slug = $1;

-- name: find_tenant_by_number
-- The tenant with this number.
SELECT tenant, slug, name, quota_rate, quota_burst FROM tenants WHERE tenant = $1;

-- name: insert_tenant
-- A new tenant; nothing when the slug is taken.
INSERT INTO tenants (slug, name, quota_rate, quota_burst) VALUES ($1, $2, $3, $4)
ON CONFLICT (slug) DO NOTHING
RETURNING tenant, slug, name, quota_rate, quota_burst;

-- name: set_tenant_quota
-- Gives a tenant another quota, which all its keys share; null for none. The platform has none.
UPDATE tenants SET quota_rate = $2, quota_burst = $3
WHERE tenant = $1 AND tenant > 0
RETURNING tenant;

-- name: list_keys
-- A tenant's keys, the oldest first, without anything of their secrets.
SELECT key_id, scopes, created_at, revoked_at, quota_rate, quota_burst
FROM api_keys
WHERE tenant = $1
ORDER BY created_at, key_id;

-- name: insert_key
-- A new key; nothing when its id is taken.
INSERT INTO api_keys (key_id, tenant, secret_hash, scopes, quota_rate, quota_burst) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (key_id) DO NOTHING
RETURNING key_id;

-- name: revoke_key
-- Ends a key for ever.
UPDATE api_keys SET revoked_at = now()
WHERE key_id = $1 AND revoked_at IS NULL
RETURNING key_id;

-- name: set_quota
-- Gives a live key another quota; null for the default.
UPDATE api_keys SET quota_rate = $2, quota_burst = $3
WHERE key_id = $1 AND revoked_at IS NULL
RETURNING key_id;

-- name: when_revoked
-- When a key was revoked; null for a live one, no row for one that never was.
SELECT revoked_at FROM api_keys WHERE key_id = $1;
