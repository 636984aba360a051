-- What a schema consists of, from the catalog. $1 is the schema. One row of text for each thing; the reader sorts
-- them, but for columns, which stand in their own order.

-- name: relations
-- Tables and sequences with their storage options.
SELECT format('%s %s%s', CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' WHEN 'S' THEN 'sequence' WHEN 'v' THEN 'view' END,
              c.relname, coalesce(' with (' || array_to_string(c.reloptions, ', ') || ')', ''))
FROM pg_class c
WHERE c.relnamespace = $1::regnamespace AND c.relkind IN ('r', 'p', 'S', 'v');

-- name: columns
-- Columns of tables, in their order, with type, nullability, default, generation and storage.
SELECT format('column %s.%s %s%s%s%s%s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
              CASE WHEN a.attnotnull THEN ' not null' ELSE '' END,
              CASE a.attidentity WHEN 'a' THEN ' identity always' WHEN 'd' THEN ' identity by default' ELSE '' END,
              CASE WHEN d.adbin IS NULL THEN '' WHEN a.attgenerated = 's'
                   THEN ' stored as ' || pg_get_expr(d.adbin, d.adrelid)
                   ELSE ' default ' || pg_get_expr(d.adbin, d.adrelid) END,
              CASE WHEN a.attstorage <> t.typstorage THEN ' storage ' || a.attstorage::text ELSE '' END)
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relnamespace = $1::regnamespace AND c.relkind IN ('r', 'p')
ORDER BY c.relname COLLATE "C", a.attnum;

-- name: constraints
-- Keys, checks and references. NOT NULL is told with its column.
SELECT format('constraint %s.%s %s', c.relname, k.conname, pg_get_constraintdef(k.oid, true))
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid
WHERE k.connamespace = $1::regnamespace AND k.contype <> 'n';

-- name: indexes
-- Indexes that no constraint made.
SELECT pg_get_indexdef(i.indexrelid, 0, true)
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
WHERE c.relnamespace = $1::regnamespace AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid);

-- name: triggers
-- Triggers, and whether they also fire for a replica (`always`).
SELECT pg_get_triggerdef(t.oid, true) || CASE t.tgenabled WHEN 'O' THEN '' WHEN 'A' THEN ' -- always' ELSE ' -- off' END
FROM pg_trigger t
JOIN pg_class c ON c.oid = t.tgrelid
WHERE c.relnamespace = $1::regnamespace AND NOT t.tgisinternal;

-- name: functions
-- Functions with their bodies.
SELECT pg_get_functiondef(p.oid)
FROM pg_proc p
WHERE p.pronamespace = $1::regnamespace;

-- name: grants
-- What each role may do with the schema and each thing in it; the owner's own rights are left out.
SELECT format('grant %s on %s to %s', string_agg(lower(held.privilege_type), ', ' ORDER BY held.privilege_type),
              thing.name, held.grantee::regrole)
FROM (
    SELECT 'schema ' || nspname AS name, nspacl AS acl, nspowner AS owner FROM pg_namespace
    WHERE oid = $1::regnamespace
    UNION ALL
    SELECT relname, relacl, relowner FROM pg_class WHERE relnamespace = $1::regnamespace
) AS thing,
     aclexplode(thing.acl) AS held
WHERE held.grantee <> thing.owner
GROUP BY thing.name, held.grantee;

-- name: keys_without_tenant
-- Unique indexes, primary keys among them, that do not hold the tenant.
SELECT c.relname
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
WHERE c.relnamespace = $1::regnamespace AND i.indisunique AND NOT EXISTS (
    SELECT FROM pg_attribute a
    WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) AND a.attname = 'tenant'
);
