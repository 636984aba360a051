-- What was not as it should be in what came from a source. Not part of the log: the log itself shows none of it.

CREATE TABLE audit.irregularities (
  stream text NOT NULL,
  kind text NOT NULL,                 -- conflict, doubled, malformed, refetched: see audit/irregularities.py
  position bigint NOT NULL,
  detail text NOT NULL,
  times bigint NOT NULL DEFAULT 1,    -- how often it was seen
  first_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  last_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- One row for each thing that is wrong, however often the broker brings it.
  CONSTRAINT irregularities_pkey PRIMARY KEY (stream, kind, position)
);
-- Of a stream the newest first: what somebody who was called looks for.
CREATE INDEX irregularities_newest ON audit.irregularities (stream, last_at);

GRANT SELECT, INSERT, UPDATE ON audit.irregularities TO amana_audit;
