-- The statements about what clients say of transfers. Names are unqualified: search_path decides.

-- name: find_owners
-- Whose these accounts are.
SELECT tenant, id, owner
FROM accounts
JOIN unnest($1::text::smallint[], $2::text::integer[], $3::text::uuid[]) AS wanted (shard, tenant, id) USING (shard, tenant, id);

-- name: find_notes
-- How the notes of these transfers are known. The text is there only where an older version wrote it in clear.
SELECT tenant, transfer AS id, reference_print, metadata_print, reference, metadata, salt
FROM notes
JOIN unnest($1::text::smallint[], $2::text::integer[], $3::text::uuid[]) AS wanted (shard, tenant, transfer)
    USING (shard, tenant, transfer);

-- name: insert_notes
-- What clients said about transfers of this batch, sealed.
INSERT INTO notes (shard, tenant, transfer, debit_owner, credit_owner, sealed, kek, reference_print, metadata_print,
                   erased)
SELECT * FROM unnest($1::smallint[], $2::integer[], $3::uuid[], $4::uuid[], $5::uuid[], $6::bytea[], $7::smallint[],
                     $8::bytea[], $9::bytea[], $10::boolean[]);

-- name: waiting_notes
-- Notes that wait for their owners' keys, from after the one named.
SELECT shard, tenant, transfer, debit_owner, credit_owner, kek, sealed
FROM notes
WHERE kek IS NOT NULL AND (shard, tenant, transfer) > ($1, $2, $3)
ORDER BY shard, tenant, transfer
LIMIT $4;

-- name: reseal_notes
-- The same notes, sealed under their owners' keys; of who is erased nothing is left. Where somebody did so meanwhile,
-- that stays.
UPDATE notes n
SET sealed = new.sealed, kek = NULL, erased = new.sealed IS NULL,
    reference_print = CASE WHEN new.sealed IS NULL THEN substr(n.reference_print, 1, 0) ELSE n.reference_print END,
    metadata_print = CASE WHEN new.sealed IS NULL THEN substr(n.metadata_print, 1, 0) ELSE n.metadata_print END
FROM unnest($1::smallint[], $2::integer[], $3::uuid[], $4::bytea[]) AS new (shard, tenant, transfer, sealed)
WHERE n.shard = new.shard AND n.tenant = new.tenant AND n.transfer = new.transfer AND n.kek IS NOT NULL;

-- name: erase_notes
-- Takes out what was said about the transfers of these customers and of their loans, at most $4 at a time. That
-- something was said stays, and nothing by which a guess could be held against it.
WITH gone AS (
    SELECT tenant, owner FROM unnest($2::integer[], $3::uuid[]) AS erased (tenant, owner)
    UNION ALL
    SELECT l.tenant, l.id
    FROM loans l
    JOIN unnest($1::smallint[], $2::integer[], $3::uuid[]) AS erased (shard, tenant, customer)
        USING (shard, tenant, customer)
), found AS (
    SELECT n.shard, n.tenant, n.transfer
    FROM gone
    JOIN notes n ON n.tenant = gone.tenant AND n.debit_owner = gone.owner AND NOT n.erased
    UNION
    SELECT n.shard, n.tenant, n.transfer
    FROM gone
    JOIN notes n ON n.tenant = gone.tenant AND n.credit_owner = gone.owner AND NOT n.erased
    LIMIT $4
)
UPDATE notes n
SET sealed = NULL, kek = NULL, erased = true,
    reference_print = substr(n.reference_print, 1, 0), metadata_print = substr(n.metadata_print, 1, 0)
FROM found
WHERE n.shard = found.shard AND n.tenant = found.tenant AND n.transfer = found.transfer;

-- name: list_noted_transfers
-- The transfers of a customer about which something was said, on either side, after an id.
SELECT n.transfer AS id
FROM notes n
WHERE n.tenant = $1 AND n.debit_owner = $2 AND NOT n.erased AND n.sealed IS NOT NULL AND n.transfer > $3
UNION
SELECT n.transfer
FROM notes n
WHERE n.tenant = $1 AND n.credit_owner = $2 AND NOT n.erased AND n.sealed IS NOT NULL AND n.transfer > $3
ORDER BY id
LIMIT $4;

-- name: holds_clear_text
-- Whether rows of an older version may be here in clear: what refuses that was not made valid yet.
SELECT NOT convalidated
FROM pg_constraint
WHERE connamespace = 'transactions'::regnamespace AND conname = 'notes_hold_no_clear_text';
