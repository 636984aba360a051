-- The statements about policies and their lives. Names are unqualified: search_path decides.

-- name: find_live_versions
-- Which policy versions decide now, of many (tenant, product) pairs.
SELECT tenant, product, version
FROM live_policies
JOIN unnest($1::integer[], $2::text[]) AS wanted (tenant, product) USING (tenant, product);

-- name: find_policy
-- One version's document.
SELECT product, version, hash, document
FROM policies
WHERE tenant = $1 AND product = $2 AND version = $3;

-- name: find_restored
-- The newest version that had this document when it was live.
SELECT max(version)
FROM policies JOIN policy_steps USING (tenant, product, version)
WHERE tenant = $1 AND product = $2 AND hash = $3 AND step = 'approved' AND valid_from <= statement_timestamp()
  AND NOT EXISTS (
      SELECT FROM policy_steps AS withdrawn
      WHERE (withdrawn.tenant, withdrawn.product, withdrawn.version, withdrawn.step)
          = (policies.tenant, policies.product, policies.version, 'withdrawn'));

-- name: list_versions
-- The newest versions of a product below a number, with the one that decides and the time.
SELECT product, policy_versions.version, hash, restores, drafted_by, drafted_at, approved_by, approved_at, valid_from,
       withdrawn_by, withdrawn_at, live.version AS live, statement_timestamp() AS now
FROM policy_versions LEFT JOIN live_policies AS live USING (tenant, product)
WHERE tenant = $1 AND product = $2 AND policy_versions.version < $3
ORDER BY policy_versions.version DESC
LIMIT $4;

-- name: bound_transaction
-- No step takes longer than this: a withdrawal must be over before the start that it prevents.
SELECT set_config('transaction_timeout', '2000', true);

-- name: add_product
-- Makes the row of a product that has no policy yet.
INSERT INTO policy_products (tenant, product) VALUES ($1, $2) ON CONFLICT (tenant, product) DO NOTHING;

-- name: lock_product
-- Holds a product's row until the step commits. What the step depends on is read after this, not with it.
SELECT tenant, product, versions, events, told, told_from
FROM policy_products
WHERE tenant = $1 AND product = $2
FOR UPDATE;

-- name: lock_due_products
-- Products with a start to tell; those in another's hands are passed over.
SELECT tenant, product, versions, events, told, told_from
FROM policy_products
WHERE due_at <= statement_timestamp()
ORDER BY due_at
LIMIT $1
FOR UPDATE SKIP LOCKED;

-- name: set_product
-- Writes what a step left; what is due next follows from the approvals that have not started.
UPDATE policy_products
SET versions = $3, events = $4, told = $5, told_from = $6,
    due_at = (
        SELECT min(valid_from) FROM policy_versions
        WHERE (policy_versions.tenant, policy_versions.product) = ($1, $2) AND withdrawn_at IS NULL
          AND ($6::timestamptz IS NULL OR (valid_from, policy_versions.version) > ($6, $5)))
WHERE tenant = $1 AND product = $2;

-- name: find_step
-- What was done under an id.
SELECT step, product, version, hash, restores, taken_at, asked_from, valid_from
FROM policy_steps JOIN policies USING (tenant, product, version)
WHERE tenant = $1 AND id = $2;

-- name: insert_policy
-- Adds a version.
INSERT INTO policies (tenant, product, version, hash, document, restores) VALUES ($1, $2, $3, $4, $5, $6);

-- name: insert_step
-- Records a step.
INSERT INTO policy_steps (tenant, id, product, version, step, actor, taken_at, asked_from, valid_from)
VALUES ($1, $2, $3, $4, $5, $6, coalesce($7, statement_timestamp()), $8, $9);

-- name: list_due
-- The versions of a product whose start is over and was not told, in the order in which they started. It is at least $5,
-- which this transaction was told before: the clock may have gone back since.
SELECT version, hash, valid_from
FROM policy_versions
WHERE tenant = $1 AND product = $2 AND withdrawn_at IS NULL
  AND valid_from <= greatest(statement_timestamp(), $5::timestamptz)
  AND ($3::integer IS NULL OR (valid_from, version) > ($4::timestamptz, $3))
ORDER BY valid_from, version;
