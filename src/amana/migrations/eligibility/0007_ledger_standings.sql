-- The projection of the ledger's standings: what the ledger last said of a customer, stale once an event says that
-- they moved; how far behind the ledger that is; and the progress of the consumer that keeps it. Amounts and days under
-- pseudonymous ids, as in decisions: nothing else of a person.

-- A row is here before the ledger is asked what goes into it: so no event that comes meanwhile can miss it. `as_of` is
-- when the ledger said it; null is stale, whatever else stands there.
CREATE TABLE eligibility.ledger_standings (
    tenant    integer NOT NULL,
    customer  uuid    NOT NULL,
    currency  text    NOT NULL,
    control   uuid    NOT NULL,  -- the exposure account in the ledger: movements name it and no customer
    moves     bigint  NOT NULL DEFAULT 0,  -- grows as events concern it: what was asked before one is not kept after
    as_of     timestamptz,
    exposure  bigint,
    loans_total  bigint,
    loans_open   bigint,
    loans_closed bigint,
    worst_days_past_due   integer,
    current_days_past_due integer,
    largest_principal_repaid bigint,
    repaid_total   bigint,
    first_loan_on  date,
    last_closed_on date,
    open_due_on    date,
    -- A person's rows are found by their numbers, whatever the currency.
    CONSTRAINT ledger_standings_pkey PRIMARY KEY (tenant, customer, currency),
    -- How the row of a moved account is found.
    CONSTRAINT ledger_standings_control UNIQUE (tenant, control),
    -- What is not stale is whole.
    CONSTRAINT ledger_standings_whole CHECK (as_of IS NULL OR num_nulls(
        exposure, loans_total, loans_open, loans_closed, worst_days_past_due, current_days_past_due,
        largest_principal_repaid, repaid_total) = 0)
) WITH (fillfactor = 80);  -- no index holds what changes: with room in its page, a row changes in place

-- Every row that is not stale holds all that the ledger had committed before an instant: `ledger_at` by the ledger's
-- clock, `proven_at` by this database's, which also tells how long ago that is. One row for each stream.
CREATE TABLE eligibility.ledger_watermark (
    stream    text NOT NULL,
    position  bigint NOT NULL,  -- the stream's end when it was asked for
    proven_at timestamptz NOT NULL,
    ledger_at timestamptz NOT NULL,
    CONSTRAINT ledger_watermark_pkey PRIMARY KEY (stream)
);

CREATE TABLE eligibility.consumer_progress (
  consumer text NOT NULL,
  stream text NOT NULL,
  below bigint NOT NULL,              -- everything before this position was taken
  advanced_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- One row for each stream: its lock is what makes processes take turns.
  CONSTRAINT consumer_progress_pkey PRIMARY KEY (consumer, stream)
);

CREATE TABLE eligibility.consumer_taken (
  consumer text NOT NULL,
  stream text NOT NULL,
  position bigint NOT NULL,
  -- A place is taken once. Rows stand only above `below`: partitions run ahead of one another, and gaps are filled late.
  CONSTRAINT consumer_taken_pkey PRIMARY KEY (consumer, stream, position)
);

CREATE TABLE eligibility.consumer_letters (
  consumer text NOT NULL,
  letter bigint GENERATED ALWAYS AS IDENTITY,
  state text NOT NULL,
  key bytea NOT NULL,
  topic text NOT NULL,
  partition integer NOT NULL,
  "offset" bigint NOT NULL,
  stream text,                        -- with `position` its place; null for a message that the relay did not send
  position bigint,
  headers bytea NOT NULL,             -- JSON, values in base64
  value bytea NOT NULL,               -- as it was received
  reason text NOT NULL,
  error text NOT NULL,
  attempts integer NOT NULL,
  kept_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  settled_at timestamptz,
  told_at timestamptz,                -- when the dead-letter topic got it
  -- Letters by number, which is how a person names one.
  CONSTRAINT consumer_letters_pkey PRIMARY KEY (consumer, letter),
  CONSTRAINT consumer_letters_state_is_known CHECK (state IN ('dead', 'parked', 'waiting', 'done', 'discarded')),
  CONSTRAINT consumer_letters_has_a_whole_place CHECK ((stream IS NULL) = (position IS NULL))
);

-- A place is kept once.
CREATE UNIQUE INDEX consumer_letters_place ON eligibility.consumer_letters (consumer, stream, position)
  WHERE stream IS NOT NULL;
-- A foreign message is kept once, however often the broker brings it.
CREATE UNIQUE INDEX consumer_letters_foreign
  ON eligibility.consumer_letters (consumer, topic, partition, "offset", sha256(value)) WHERE stream IS NULL;
-- Whether a key is held up, and by what first: asked for every batch.
CREATE INDEX consumer_letters_open ON eligibility.consumer_letters (consumer, key, position)
  WHERE state IN ('dead', 'parked', 'waiting');
-- What the dead-letter topic lacks.
CREATE INDEX consumer_letters_untold ON eligibility.consumer_letters (consumer, letter)
  WHERE state = 'dead' AND told_at IS NULL;

GRANT SELECT, INSERT, UPDATE ON eligibility.ledger_standings, eligibility.ledger_watermark,
  eligibility.consumer_progress, eligibility.consumer_letters TO amana_eligibility;
GRANT SELECT, INSERT, DELETE ON eligibility.consumer_taken TO amana_eligibility;
