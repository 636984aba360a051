-- Whole databases.

-- name: database_statement
-- The statement that creates database $1; no row when it exists.
SELECT format('CREATE DATABASE %I', $1::text)
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = $1::text);

-- name: drop_statement
-- The statement that removes database $1.
SELECT format('DROP DATABASE IF EXISTS %I', $1::text);
