-- The statements about keys. Names are unqualified: search_path decides.

-- name: find_keys
-- The keys of many customers; `wrapped` is null where a key was destroyed.
SELECT tenant, customer, kek, wrapped
FROM data_keys
JOIN unnest($1::integer[], $2::uuid[]) AS wanted (tenant, customer) USING (tenant, customer);

-- name: find_standings
-- How many customers stand: their keys, and whether somebody asked to erase them.
SELECT tenant, customer, k.kek, k.wrapped, k.destroyed_at IS NOT NULL AS destroyed,
       e.requested_at IS NOT NULL AS to_be_erased
FROM unnest($1::integer[], $2::uuid[]) AS wanted (tenant, customer)
LEFT JOIN data_keys k USING (tenant, customer)
LEFT JOIN erasures e USING (tenant, customer);

-- name: insert_kek
-- Lets a version of the key file wrap, where nobody dropped it.
INSERT INTO keks (version) VALUES ($1) ON CONFLICT (version) DO NOTHING;

-- name: insert_keys
-- New keys; a customer who has or had one is passed over. No row comes of a version that was dropped, which waits for
-- this to end.
INSERT INTO data_keys (tenant, customer, kek, wrapped)
SELECT new.tenant, new.customer, allowed.version, new.wrapped
FROM unnest($1::integer[], $2::uuid[], $4::bytea[]) AS new (tenant, customer, wrapped)
CROSS JOIN (SELECT version FROM keks WHERE version = $3 AND dropped_at IS NULL FOR SHARE) AS allowed
ORDER BY new.tenant, new.customer
ON CONFLICT (tenant, customer) DO NOTHING;

-- name: destroy_key
-- Destroys a customer's key, or keeps them from ever getting one.
INSERT INTO data_keys (tenant, customer, destroyed_at) VALUES ($1, $2, clock_timestamp())
ON CONFLICT (tenant, customer) DO UPDATE SET kek = NULL, wrapped = NULL, destroyed_at = clock_timestamp()
WHERE data_keys.destroyed_at IS NULL;

-- name: find_used
-- The tokens of numbers that their customers are known to have.
SELECT tenant, kind, hidden, customer, token
FROM numbers
JOIN number_uses USING (tenant, kind, hidden)
JOIN unnest($1::integer[], $2::text[], $3::bytea[], $4::uuid[]) AS wanted (tenant, kind, hidden, customer)
     USING (tenant, kind, hidden, customer);

-- name: ensure_numbers
-- The tokens of many numbers, made where there are none. The rows stay locked, so that nobody forgets one meanwhile.
INSERT INTO numbers (tenant, kind, hidden, token)
SELECT DISTINCT ON (tenant, kind, hidden) tenant, kind, hidden, token
FROM unnest($1::integer[], $2::text[], $3::bytea[], $4::uuid[]) AS new (tenant, kind, hidden, token)
ORDER BY tenant, kind, hidden
ON CONFLICT (tenant, kind, hidden) DO UPDATE SET token = numbers.token
RETURNING tenant, kind, hidden, token;

-- name: insert_uses
-- Writes down who has the numbers.
INSERT INTO number_uses (tenant, kind, hidden, customer)
SELECT * FROM unnest($1::integer[], $2::text[], $3::bytea[], $4::uuid[]) AS new (tenant, kind, hidden, customer)
ON CONFLICT (tenant, kind, hidden, customer) DO NOTHING;

-- name: lock_numbers
-- The numbers of a customer, held until it is known who else has them.
SELECT kind, hidden
FROM numbers
JOIN number_uses USING (tenant, kind, hidden)
WHERE tenant = $1 AND customer = $2
ORDER BY tenant, kind, hidden
FOR UPDATE OF numbers;

-- name: delete_uses
-- The customer has no numbers any more.
DELETE FROM number_uses WHERE tenant = $1 AND customer = $2;

-- name: delete_numbers
-- Forgets those of the locked numbers that nobody has.
DELETE FROM numbers
USING unnest($2::text[], $3::bytea[]) AS locked (kind, hidden)
WHERE numbers.tenant = $1 AND numbers.kind = locked.kind AND numbers.hidden = locked.hidden
  AND NOT EXISTS (
      SELECT FROM number_uses AS use
      WHERE use.tenant = numbers.tenant AND use.kind = numbers.kind AND use.hidden = numbers.hidden);

-- name: insert_erasure
-- Remembers a request to erase; the first one for a customer stays, and the first one under an id.
INSERT INTO erasures (tenant, customer, erasure_id, reason, requested_by, requested_at)
VALUES ($1, $2, $3, $4, $5, clock_timestamp())
ON CONFLICT DO NOTHING;

-- name: find_erasure
-- The request to erase a customer.
SELECT tenant, customer, erasure_id, reason, requested_by, requested_at, destroyed_at
FROM erasures
WHERE tenant = $1 AND customer = $2;

-- name: page_erasures
-- Requests to erase in the order of their keys, from after the one named.
SELECT tenant, customer, erasure_id, reason, requested_by, requested_at, destroyed_at
FROM erasures
WHERE (tenant, customer) > ($1, $2)
ORDER BY tenant, customer
LIMIT $3;

-- name: page_destroyed
-- Who was erased within the last seconds ($3), from after the one named.
SELECT tenant, customer
FROM erasures
WHERE destroyed_at >= clock_timestamp() - make_interval(secs => $3) AND (tenant, customer) > ($1, $2)
ORDER BY tenant, customer
LIMIT $4;

-- name: end_erasure
-- What the request asked for is done here.
UPDATE erasures SET destroyed_at = clock_timestamp() WHERE tenant = $1 AND customer = $2 AND destroyed_at IS NULL;

-- name: wrapped_under
-- Keys under one version, locked: the next part of a rotation. Those that somebody else has are theirs.
SELECT tenant, customer, wrapped FROM data_keys WHERE kek = $1 ORDER BY tenant, customer LIMIT $2
FOR UPDATE SKIP LOCKED;

-- name: rewrap_keys
-- The same keys, wrapped under another version.
UPDATE data_keys
SET kek = $1, wrapped = new.wrapped
FROM unnest($2::integer[], $3::uuid[], $4::bytea[]) AS new (tenant, customer, wrapped)
WHERE data_keys.tenant = new.tenant AND data_keys.customer = new.customer;

-- name: lock_kek
-- A version, held against whoever would wrap under it.
SELECT version, dropped_at FROM keks WHERE version = $1 FOR UPDATE;

-- name: drop_kek
-- Nothing is wrapped under this version from now on; no row comes back while something still is.
UPDATE keks SET dropped_at = coalesce(dropped_at, clock_timestamp())
WHERE version = $1 AND NOT EXISTS (SELECT FROM data_keys WHERE kek = $1)
RETURNING version;

-- name: lock_customer
-- Placing a legal hold and destroying a key take turns, also for a customer who has no key.
SELECT pg_advisory_xact_lock(hashtextextended('amana vault customer ' || $1::integer || '/' || $2::uuid, 0));

-- name: is_kept
-- Whether a customer's key, which may be none, must not be destroyed: where $3 none may, else while a legal hold stands.
-- One that is destroyed is kept by nothing any more.
SELECT ($3::boolean OR EXISTS (
           SELECT FROM legal_holds WHERE tenant = $1 AND customer = $2 AND released_at IS NULL))
   AND NOT EXISTS (SELECT FROM data_keys WHERE tenant = $1 AND customer = $2 AND destroyed_at IS NOT NULL);

-- name: is_destroyed
-- Whether a customer's key was destroyed.
SELECT EXISTS (SELECT FROM data_keys WHERE tenant = $1 AND customer = $2 AND destroyed_at IS NOT NULL);

-- name: insert_hold
-- Places a legal hold. No row comes back where one has the id.
INSERT INTO legal_holds (tenant, hold_id, customer, reason, placed_by, placed_for, told_as, told_after)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (tenant, hold_id) DO NOTHING
RETURNING hold_id;

-- name: find_hold
-- A legal hold.
SELECT tenant, hold_id, customer, reason, placed_by, placed_for, placed_at,
       release_reason, released_by, released_for, released_at, told, told_as, told_after
FROM legal_holds
WHERE tenant = $1 AND hold_id = $2;

-- name: release_hold
-- Releases a legal hold that stands and whose placing was told. No row comes back for any other.
UPDATE legal_holds
SET release_reason = $3, released_by = $4, released_for = $5, released_at = clock_timestamp(),
    told_as = $6, told_after = $7
WHERE tenant = $1 AND hold_id = $2 AND released_at IS NULL AND told = 1
RETURNING hold_id;

-- name: list_holds
-- A tenant's legal holds, of one customer ($2) or of all, also those that were released where $3, from after an id.
SELECT tenant, hold_id, customer, reason, placed_by, placed_for, placed_at,
       release_reason, released_by, released_for, released_at, told, told_as, told_after
FROM legal_holds
WHERE tenant = $1 AND ($2::uuid IS NULL OR customer = $2) AND ($3::boolean OR released_at IS NULL) AND hold_id > $4
ORDER BY hold_id
LIMIT $5;

-- name: untold_holds
-- Legal holds of which a step was not told yet.
SELECT tenant, hold_id, customer, reason, placed_by, placed_for, placed_at,
       release_reason, released_by, released_for, released_at, told, told_as, told_after
FROM legal_holds
WHERE told < 1 + (released_at IS NOT NULL)::integer
ORDER BY tenant, hold_id
LIMIT $1;

-- name: note_told
-- So many steps of a legal hold were told.
UPDATE legal_holds SET told = $3 WHERE tenant = $1 AND hold_id = $2 AND told < $3;

-- name: held_customers
-- Customers whom a legal hold keeps, in the order of their ids, from after the one named.
SELECT DISTINCT tenant, customer
FROM legal_holds
WHERE released_at IS NULL AND (tenant, customer) > ($1, $2)
ORDER BY tenant, customer
LIMIT $3;
