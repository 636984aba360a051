-- name: lock
-- One migration at a time per database; held until the connection ends.
SELECT pg_advisory_lock(7305804385274524269);

-- name: create_journal
-- Which files were applied, and the checksum of each as it was then.
CREATE TABLE IF NOT EXISTS public.schema_migrations (
  schema text NOT NULL,
  version integer NOT NULL,
  name text NOT NULL,
  sha256 text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (schema, version)
);

-- name: list_applied
-- What was applied to schema $1, by version.
SELECT version, name, sha256 FROM public.schema_migrations WHERE schema = $1 ORDER BY version;

-- name: insert_applied
-- Remember one file, in the transaction that applies it.
INSERT INTO public.schema_migrations (schema, version, name, sha256) VALUES ($1, $2, $3, $4);

-- name: schema_statement
-- The statement that creates schema $1.
SELECT format('CREATE SCHEMA IF NOT EXISTS %I', $1::text);

-- name: role_statement
-- The statement that gives role $1 the password $2 (NULL: none), creating the role if it is absent.
SELECT format(
  '%s ROLE %I LOGIN%s',
  CASE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = $1::text) THEN 'ALTER' ELSE 'CREATE' END,
  $1::text,
  CASE WHEN $2::text IS NULL THEN '' ELSE format(' PASSWORD %L', $2::text) END
);

-- name: role_exists
-- Whether the server knows role $1.
SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1::text);
