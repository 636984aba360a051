-- name: lock_all_indexing
-- Waits for whoever extends the index of any stream, and keeps them out until the transaction ends.
SELECT stream FROM indexing ORDER BY stream FOR UPDATE;

-- name: empty_index
-- Empties the search index, for building it anew.
TRUNCATE postings, segments, blocks;

-- name: restart_indexing
-- Every stream is to be indexed again, from where its retention begins.
UPDATE indexing SET size = floor;
