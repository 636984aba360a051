-- name: owner_statement
-- The statement that makes the owner role, which $1 names and $2 gives the password of; no row when it exists.
SELECT format('CREATE ROLE %I LOGIN CREATEDB CREATEROLE PASSWORD %L', $1::text, $2::text)
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = $1::text);
