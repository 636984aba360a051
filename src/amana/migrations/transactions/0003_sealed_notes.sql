-- What clients say about transfers is sealed under the keys of the owners of both accounts, which are in no table here.

ALTER TABLE transactions.notes
    ADD COLUMN debit_owner      uuid,  -- null where a refused transfer named no account that was there
    ADD COLUMN credit_owner     uuid,
    ADD COLUMN sealed           bytea,     -- the text with the salt; of what was refused only the fingerprints are kept
    ADD COLUMN kek              smallint,  -- sealed for now under this version of the key file, not the owners' keys
    -- Keyed fingerprints, by which the same text is known again; empty once it is erased, so that nothing can be tried.
    ADD COLUMN reference_print  bytea    CHECK (octet_length(reference_print) IN (0, 16)),
    ADD COLUMN metadata_print   bytea    CHECK (octet_length(metadata_print) IN (0, 16)),
    ADD COLUMN erased           boolean  NOT NULL DEFAULT false,
    ALTER COLUMN salt DROP NOT NULL,
    ADD CONSTRAINT notes_are_sealed_for_somebody
        CHECK (sealed IS NULL OR num_nonnulls(debit_owner, credit_owner) = 2),
    ADD CONSTRAINT notes_wait_sealed CHECK (kek IS NULL OR sealed IS NOT NULL),
    ADD CONSTRAINT notes_erased_have_nothing CHECK (
        NOT erased OR (sealed IS NULL AND coalesce(octet_length(reference_print), 0) = 0
                       AND coalesce(octet_length(metadata_print), 0) = 0)),
    -- Not valid where rows from before are here still: `amana privacy encrypt` seals those and makes it valid.
    ADD CONSTRAINT notes_hold_no_clear_text CHECK (num_nonnulls(reference, metadata, salt) = 0) NOT VALID;

-- "The transfer that we call so": by the fingerprint of a lender's own reference, not unique.
CREATE INDEX notes_by_reference_print ON transactions.notes (tenant, reference_print)
    WHERE octet_length(reference_print) > 0;
-- "What was said about this customer's transfers", on either side: for a copy of it, and to erase it. What is erased
-- takes no room here.
CREATE INDEX notes_by_debit_owner ON transactions.notes (tenant, debit_owner, transfer) WHERE NOT erased;
CREATE INDEX notes_by_credit_owner ON transactions.notes (tenant, credit_owner, transfer) WHERE NOT erased;
-- "What waits for its owners' keys": nothing, but after the vault was away.
CREATE INDEX notes_waiting ON transactions.notes (shard, tenant, transfer) WHERE kek IS NOT NULL;

-- A database without clear text needs no `encrypt`.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM transactions.notes) THEN
        ALTER TABLE transactions.notes VALIDATE CONSTRAINT notes_hold_no_clear_text;
    END IF;
END $$;

-- Sealed again, or erased: the service changes nothing else of what was said.
GRANT UPDATE (sealed, kek, reference_print, metadata_print, erased) ON transactions.notes TO amana_transactions;
