-- name: schema_is_there
-- Whether schema $1 was made; what it holds comes with it.
SELECT to_regnamespace($1::text) IS NOT NULL;
