-- The metrics store: what happened (audit_trail) and how long requests took (route_latencies), counted by the minute,
-- the hour and the day. All but the latencies can be made again from the audit log, and nothing that the law wants is
-- only here. The tables are the same in both forms; 0002 says which form this database has.

CREATE TABLE timescale.audit_trail (
  occurred_at timestamptz NOT NULL,
  tenant integer NOT NULL,
  stream text NOT NULL,
  position bigint NOT NULL,
  type text NOT NULL,
  aggregate uuid NOT NULL,
  customer uuid,
  actor text NOT NULL,
  -- What it counts as; empty and zero where a column does not apply, so that every row has a place in every count.
  kind text NOT NULL,
  product text NOT NULL,
  policy text NOT NULL,
  policy_version integer NOT NULL,
  outcome text NOT NULL,
  code text NOT NULL,                 -- what a leg of a loan is for; a client's own codes are not told apart
  currency text NOT NULL,
  amount bigint NOT NULL,             -- minor units
  amount_band bigint NOT NULL,        -- where the amount's band begins: 1, 2 or 5 times a power of ten
  -- An event is stored once. Its time follows from its place, but a key must hold what rows are divided by.
  CONSTRAINT audit_trail_pkey PRIMARY KEY (stream, position, occurred_at)
);
-- A tenant's trail of a time, for dashboards.
CREATE INDEX audit_trail_time ON timescale.audit_trail (tenant, occurred_at);

CREATE TABLE timescale.route_latencies (
  measured_at timestamptz NOT NULL,   -- the end of the seconds that were measured
  instance uuid NOT NULL,             -- the process that measured
  service text NOT NULL,
  method text NOT NULL,
  route text NOT NULL,
  status_class text NOT NULL,         -- 2xx, 4xx, 5xx
  le_us integer NOT NULL,             -- upper bound of the bucket, microseconds; 2^31 - 1 for the one without
  requests bigint NOT NULL,
  total_us bigint NOT NULL,           -- the time of these requests added up
  -- What is sent again after a COMMIT in doubt is stored once.
  CONSTRAINT route_latencies_pkey
    PRIMARY KEY (instance, service, method, route, status_class, le_us, measured_at)
);

CREATE TABLE timescale.progress (
  stream text NOT NULL,
  next_position bigint NOT NULL,      -- every event of the log before this one is in the trail, or too old for it
  -- One row per stream; a writer moves it in the transaction that stores the events.
  CONSTRAINT progress_pkey PRIMARY KEY (stream)
);
INSERT INTO timescale.progress (stream, next_position) VALUES ('eligibility', 0), ('transactions', 0);

GRANT USAGE ON SCHEMA timescale TO amana_metrics;
GRANT SELECT, INSERT ON timescale.audit_trail, timescale.route_latencies TO amana_metrics;
GRANT SELECT, UPDATE ON timescale.progress TO amana_metrics;
