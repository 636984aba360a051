-- name: index_bytes
-- Bytes of the search index: its partitions with their keys, and the times of segments.
SELECT coalesce(sum(pg_total_relation_size(inhrelid)), 0)::bigint + pg_total_relation_size('audit.segments')
       + pg_total_relation_size('audit.blocks')
FROM pg_inherits
WHERE inhparent = 'audit.postings'::regclass;

-- name: leaves_bytes
-- Bytes of the leaves with their keys.
SELECT pg_total_relation_size('audit.leaves');

-- name: make_postings
-- Makes the partition that segment $1 is in, if there is none.
SELECT audit.make_postings($1);

-- name: index_is_built
-- Says that stream $1 is indexed up to before $2.
INSERT INTO audit.indexing (stream, size) VALUES ($1, $2);

-- name: refresh_statistics
-- What autovacuum would have done meanwhile.
ANALYZE audit.leaves, audit.postings, audit.segments, audit.blocks;
