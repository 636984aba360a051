-- Finding events: a projection of the leaves, built behind them and rebuildable at any time. Nothing that is proved or
-- verified depends on it, so its tables may be emptied; the leaves stay the truth.
--
-- It is an inverted index. Each thing that an event names (its customer, accounts, decision, type, actor, ...) is a key:
-- 64 bits of a hash of tenant, kind and name. A run of 2,048 positions of one stream is a segment. One row holds a key's
-- places in a segment, so what is in nearly every event costs two bytes there and not a row.

CREATE TABLE audit.postings (
  key bigint NOT NULL,
  segment bigint NOT NULL,            -- number of the stream * 2^40 + position / 2048
  places bytea NOT NULL,              -- position % 2048 of each event, two bytes, ascending
  -- A key's segments are one range of it, in the order of the log, forwards and backwards.
  CONSTRAINT postings_pkey PRIMARY KEY (key, segment)
) PARTITION BY RANGE (segment);

CREATE TABLE audit.segments (
  segment bigint NOT NULL,
  first_at timestamptz NOT NULL,
  last_at timestamptz NOT NULL,
  -- One row per segment: which of them can hold events of a time.
  CONSTRAINT segments_pkey PRIMARY KEY (segment)
);

CREATE TABLE audit.blocks (
  block bigint NOT NULL,              -- segment * 16 + (position % 2048) / 128
  first_at timestamptz NOT NULL,
  last_at timestamptz NOT NULL,
  -- One row per 128 positions: which part of a segment can hold events of a time that begins or ends in it.
  CONSTRAINT blocks_pkey PRIMARY KEY (block)
);

CREATE TABLE audit.indexing (
  stream text NOT NULL,
  size bigint NOT NULL,               -- all leaves before this position are indexed
  floor bigint NOT NULL DEFAULT 0,    -- what is before it was dropped when its time of retention was over
  -- One row per stream; locked by whoever extends the index.
  CONSTRAINT indexing_pkey PRIMARY KEY (stream),
  CONSTRAINT indexing_floor_is_indexed CHECK (floor BETWEEN 0 AND size)
);

-- The partition of 512 segments, 2^20 positions, that `given` is in. Only its newest part of the index is written to,
-- so inserts stay within a B-tree that fits in memory, and what is past its time is dropped whole. The service may not
-- make tables: this makes this one kind for it.
CREATE FUNCTION audit.make_postings(given bigint) RETURNS void LANGUAGE plpgsql
  SECURITY DEFINER SET search_path = audit, pg_temp AS $$
DECLARE
  first bigint := given - given % 512;
  partition text := format('postings_%s_%s', first >> 40, (first & ((1::bigint << 40) - 1)) / 512);
BEGIN
  IF given < 0 OR given >= 256::bigint << 40 THEN
    RAISE EXCEPTION 'no segment has the number %', given USING ERRCODE = 'numeric_value_out_of_range';
  END IF;
  IF to_regclass(format('audit.%I', partition)) IS NULL THEN
    -- Made apart and then attached, so that nobody who reads the index is waited for.
    EXECUTE format('CREATE TABLE audit.%I (LIKE audit.postings INCLUDING ALL) WITH (fillfactor = 90)', partition);
    EXECUTE format('ALTER TABLE audit.%I ALTER COLUMN places SET STORAGE MAIN', partition);
    EXECUTE format('ALTER TABLE audit.postings ATTACH PARTITION audit.%I FOR VALUES FROM (%s) TO (%s)',
                   partition, first, first + 512);
  END IF;
END $$;
REVOKE ALL ON FUNCTION audit.make_postings(bigint) FROM PUBLIC;

-- Drops the partition that begins with segment `first`; whether there was one. For the owner: what is past its retention.
CREATE FUNCTION audit.drop_postings(first bigint) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  partition text := format('postings_%s_%s', first >> 40, (first & ((1::bigint << 40) - 1)) / 512);
BEGIN
  IF first % 512 <> 0 OR to_regclass(format('audit.%I', partition)) IS NULL THEN
    RETURN false;
  END IF;
  EXECUTE format('DROP TABLE audit.%I', partition);
  RETURN true;
END $$;
REVOKE ALL ON FUNCTION audit.drop_postings(bigint) FROM PUBLIC;

-- What they found is found by the postings, for a part of what they cost at every insert.
DROP INDEX IF EXISTS audit.leaves_customer;
DROP INDEX IF EXISTS audit.leaves_aggregate;
DROP INDEX IF EXISTS audit.leaves_type;
DROP INDEX IF EXISTS audit.leaves_time;

GRANT SELECT, INSERT, UPDATE ON audit.postings, audit.segments, audit.blocks, audit.indexing TO amana_audit;
GRANT EXECUTE ON FUNCTION audit.make_postings(bigint) TO amana_audit;
