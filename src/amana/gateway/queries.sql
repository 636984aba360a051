-- name: find_key
-- The live key with this id; a revoked one is as absent as one that never was.
SELECT key_id, tenant, secret_hash, scopes
FROM api_keys
WHERE key_id = $1 AND revoked_at IS NULL;

-- name: find_tenant
-- The tenant called `slug`.
SELECT tenant FROM tenants WHERE slug = $1;

-- name: insert_tenant
-- A new tenant; nothing when the slug is taken.
INSERT INTO tenants (slug, name) VALUES ($1, $2)
ON CONFLICT (slug) DO NOTHING
RETURNING tenant;

-- name: insert_key
-- A new key; nothing when its id is taken.
INSERT INTO api_keys (key_id, tenant, secret_hash, scopes) VALUES ($1, $2, $3, $4)
ON CONFLICT (key_id) DO NOTHING
RETURNING key_id;

-- name: revoke_key
-- Ends a key for ever.
UPDATE api_keys SET revoked_at = now()
WHERE key_id = $1 AND revoked_at IS NULL
RETURNING key_id;
