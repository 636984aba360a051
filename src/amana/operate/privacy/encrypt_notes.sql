-- The statements of `amana privacy encrypt` about transfers: what older versions wrote in clear is sealed.

-- name: clear_notes
-- The next notes in clear, from after the one named, and whose accounts their transfer moves, or would have moved had it
-- not been refused.
SELECT n.shard, n.tenant, n.transfer, n.reference, n.metadata, n.salt, t.id IS NOT NULL AS moved,
       d.owner AS debit_owner, c.owner AS credit_owner
FROM notes n
LEFT JOIN transfers t ON t.shard = n.shard AND t.tenant = n.tenant AND t.id = n.transfer
LEFT JOIN commands k ON t.id IS NULL AND k.shard = n.shard AND k.tenant = n.tenant AND k.id = n.transfer
LEFT JOIN transfers o ON o.shard = n.shard AND o.tenant = n.tenant AND o.id = (k.request ->> 'original')::uuid
CROSS JOIN LATERAL (
    SELECT coalesce(t.debit_account, o.debit_account, (k.request ->> 'debit_account')::uuid) AS debit,
           coalesce(t.credit_account, o.credit_account, (k.request ->> 'credit_account')::uuid) AS credit
) AS named
LEFT JOIN accounts d ON d.shard = shard_of(named.debit, $5) AND d.tenant = n.tenant AND d.id = named.debit
LEFT JOIN accounts c ON c.shard = shard_of(named.credit, $5) AND c.tenant = n.tenant AND c.id = named.credit
WHERE n.salt IS NOT NULL AND (n.shard, n.tenant, n.transfer) > ($1, $2, $3)
ORDER BY n.shard, n.tenant, n.transfer
LIMIT $4;

-- name: seal_notes
-- The same notes, sealed.
UPDATE notes n
SET debit_owner = new.debit_owner, credit_owner = new.credit_owner, sealed = new.sealed,
    reference_print = new.reference_print, metadata_print = new.metadata_print, erased = new.erased,
    reference = NULL, metadata = NULL, salt = NULL
FROM unnest($1::smallint[], $2::integer[], $3::uuid[], $4::uuid[], $5::uuid[], $6::bytea[], $7::bytea[], $8::bytea[],
            $9::boolean[])
     AS new (shard, tenant, transfer, debit_owner, credit_owner, sealed, reference_print, metadata_print, erased)
WHERE n.shard = new.shard AND n.tenant = new.tenant AND n.transfer = new.transfer AND n.salt IS NOT NULL;

-- name: validate_notes
-- From here on the table itself refuses what is in clear.
ALTER TABLE notes VALIDATE CONSTRAINT notes_hold_no_clear_text;

-- name: waiting_versions
-- Older versions of the key file under which notes wait for their owners' keys.
SELECT DISTINCT kek FROM notes WHERE kek IS NOT NULL AND kek <> $1 ORDER BY kek;
