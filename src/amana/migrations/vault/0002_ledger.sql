-- The ledger seals what clients say about transfers under the keys of the owners of their accounts.

-- It makes keys and reads them; it destroys none. A shared lock on a version needs the right to change it.
GRANT USAGE ON SCHEMA vault TO amana_transactions;
GRANT SELECT, INSERT ON vault.keks, vault.data_keys TO amana_transactions;
GRANT UPDATE (version) ON vault.keks TO amana_transactions;
GRANT SELECT ON vault.erasures TO amana_transactions;

-- "Who was erased a moment ago", asked every second by whoever has something of them to take out.
CREATE INDEX erasures_by_end ON vault.erasures (destroyed_at) WHERE destroyed_at IS NOT NULL;
