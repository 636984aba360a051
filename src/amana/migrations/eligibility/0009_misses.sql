-- How the two large rows of a miss are stored: compressing them took a third of the database's time for one.

-- A decision of some 3 kB stays in its row: of its parts the largest is compressed, and the others only where that is
-- not enough. Three fit in a page, as before, when all were compressed and some had to go elsewhere.
ALTER TABLE eligibility.decisions SET (toast_tuple_target = 2700);

-- Events are stored as they are, as long as two fit in a page: they go once the audit log has them.
ALTER TABLE eligibility.outbox SET (toast_tuple_target = 8160);

-- A letter of the stream that a person gave up concerned nobody knows whom. So rows of which the ledger was asked while
-- fewer had been given up are not believed from the instant that the watermark passes it.
ALTER TABLE eligibility.ledger_watermark ADD COLUMN given_up bigint NOT NULL DEFAULT 0;
ALTER TABLE eligibility.ledger_standings ADD COLUMN given_up bigint NOT NULL DEFAULT 0;
