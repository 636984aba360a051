-- Notification requests: what a borrower is to be told, made from events, kept until a sender has told it; and the
-- progress of the consumer that makes them. No personal data: ids, figures and the code of a wording.

CREATE TABLE notifications.requests (
  tenant integer NOT NULL,
  request_id uuid NOT NULL,           -- follows from event and template
  number bigint GENERATED ALWAYS AS IDENTITY,  -- the order in which pages are read
  event_id uuid NOT NULL,
  template text NOT NULL,
  wording smallint NOT NULL,          -- which version of the template's wording
  customer uuid NOT NULL,
  about uuid NOT NULL,                -- the loan or decision
  figures jsonb NOT NULL,             -- what the wording says of it
  occurred_at timestamptz NOT NULL,
  made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires_at timestamptz NOT NULL,    -- to be told later than this, it is not told
  state text NOT NULL DEFAULT 'waiting',
  attempts smallint NOT NULL DEFAULT 0,
  due_at timestamptz NOT NULL DEFAULT clock_timestamp(),  -- of a waiting one: not before this; claimed: the lease's end
  lease uuid,                         -- names the claim that may report
  error text,                         -- the sender's code for the last failure
  settled_at timestamptz,
  -- One request for an event and a template: its id follows from both, so a second one has the same key.
  CONSTRAINT requests_pkey PRIMARY KEY (tenant, request_id),
  CONSTRAINT requests_state_is_known CHECK (state IN ('waiting', 'claimed', 'delivered', 'failed', 'expired')),
  -- Only what was claimed once has a lease, and what is claimed always has one.
  CONSTRAINT requests_claimed_has_a_lease CHECK (state <> 'claimed' OR lease IS NOT NULL),
  CONSTRAINT requests_settled_has_a_time CHECK ((state IN ('delivered', 'failed', 'expired')) = (settled_at IS NOT NULL))
);

-- A tenant's requests, page by page.
CREATE INDEX requests_page ON notifications.requests (tenant, number);
-- What one customer was told.
CREATE INDEX requests_customer ON notifications.requests (tenant, customer, number);
-- What a sender may claim, the oldest first; partial, because most requests are settled.
CREATE INDEX requests_due ON notifications.requests (tenant, due_at) WHERE state IN ('waiting', 'claimed');
-- Open requests whose time is over, of all tenants: for the sweeper.
CREATE INDEX requests_expiry ON notifications.requests (expires_at) WHERE state IN ('waiting', 'claimed');

CREATE TABLE notifications.consumer_progress (
  consumer text NOT NULL,
  stream text NOT NULL,
  below bigint NOT NULL,              -- everything before this position was taken
  advanced_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- One row for each stream: its lock is what makes processes take turns.
  CONSTRAINT consumer_progress_pkey PRIMARY KEY (consumer, stream)
);

CREATE TABLE notifications.consumer_taken (
  consumer text NOT NULL,
  stream text NOT NULL,
  position bigint NOT NULL,
  -- A place is taken once. Rows stand only above `below`: partitions run ahead of one another, and gaps are filled late.
  CONSTRAINT consumer_taken_pkey PRIMARY KEY (consumer, stream, position)
);

CREATE TABLE notifications.consumer_versions (
  consumer text NOT NULL,
  tenant integer NOT NULL,
  aggregate uuid NOT NULL,
  version bigint NOT NULL,
  -- The highest version applied of an aggregate.
  CONSTRAINT consumer_versions_pkey PRIMARY KEY (consumer, tenant, aggregate)
);

CREATE TABLE notifications.consumer_letters (
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
CREATE UNIQUE INDEX consumer_letters_place ON notifications.consumer_letters (consumer, stream, position)
  WHERE stream IS NOT NULL;
-- A foreign message is kept once, however often the broker brings it.
CREATE UNIQUE INDEX consumer_letters_foreign
  ON notifications.consumer_letters (consumer, topic, partition, "offset", sha256(value)) WHERE stream IS NULL;
-- Whether a key is held up, and by what first: asked for every batch.
CREATE INDEX consumer_letters_open ON notifications.consumer_letters (consumer, key, position)
  WHERE state IN ('dead', 'parked', 'waiting');
-- What the dead-letter topic lacks.
CREATE INDEX consumer_letters_untold ON notifications.consumer_letters (consumer, letter)
  WHERE state = 'dead' AND told_at IS NULL;

GRANT USAGE ON SCHEMA notifications TO amana_notifications;
GRANT SELECT, INSERT, UPDATE ON notifications.requests TO amana_notifications;
GRANT SELECT, INSERT, UPDATE ON notifications.consumer_progress, notifications.consumer_versions,
  notifications.consumer_letters TO amana_notifications;
GRANT SELECT, INSERT, DELETE ON notifications.consumer_taken TO amana_notifications;
GRANT USAGE ON SCHEMA gateway TO amana_notifications;
GRANT SELECT ON gateway.tenants, gateway.api_keys TO amana_notifications;
