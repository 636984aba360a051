-- What identifies a customer, what other sources say of them, and blocks.

-- Protected attributes, here and nowhere else. The formats have no public check digit but the account number's, which
-- depends on its bank; so the shape is all that a constraint can hold.
ALTER TABLE eligibility.customers
    ADD COLUMN bvn    text CONSTRAINT customers_bvn_is_11_digits CHECK (bvn ~ '^[0-9]{11}$'),
    ADD COLUMN nin    text CONSTRAINT customers_nin_is_11_digits CHECK (nin ~ '^[0-9]{11}$'),
    ADD COLUMN nuban  text CONSTRAINT customers_nuban_is_10_digits CHECK (nuban ~ '^[0-9]{10}$'),
    -- An account number without its bank names no account.
    ADD CONSTRAINT customers_nuban_has_its_bank CHECK (nuban IS NULL OR bank_code IS NOT NULL);

-- Other sources, each with the instant that it speaks of. A change of any is a new facts_version of the customer, and
-- recorded_at stays the instant of the lender's own record.
ALTER TABLE eligibility.customers
    ADD COLUMN bureau_as_of                timestamptz,
    ADD COLUMN bureau_count                smallint CHECK (bureau_count > 0),
    ADD COLUMN bureau_score                smallint CHECK (bureau_score >= 0),
    ADD COLUMN bureau_worst_days_past_due  integer  CHECK (bureau_worst_days_past_due >= 0),
    ADD COLUMN bureau_open_facilities      integer  CHECK (bureau_open_facilities >= 0),
    ADD COLUMN topups_as_of                timestamptz,
    ADD COLUMN topup_monthly               bigint   CHECK (topup_monthly BETWEEN 0 AND 9007199254740991),
    ADD COLUMN consent_terms               boolean,  -- false: refused or withdrawn; null: never asked
    ADD COLUMN consent_terms_at            timestamptz,
    ADD COLUMN consent_bureau              boolean,
    ADD COLUMN consent_bureau_at           timestamptz,
    ADD COLUMN consent_recovery            boolean,
    ADD COLUMN consent_recovery_at         timestamptz,
    -- A source that spoke has the instant and the least that it says; one that did not has nothing.
    ADD CONSTRAINT customers_bureau_is_whole CHECK (
        (bureau_as_of IS NULL) = (bureau_count IS NULL)
        AND (bureau_as_of IS NOT NULL
             OR num_nonnulls(bureau_score, bureau_worst_days_past_due, bureau_open_facilities) = 0)),
    ADD CONSTRAINT customers_topups_are_whole CHECK ((topups_as_of IS NULL) = (topup_monthly IS NULL)),
    ADD CONSTRAINT customers_consents_are_whole CHECK (
        (consent_terms IS NULL) = (consent_terms_at IS NULL)
        AND (consent_bureau IS NULL) = (consent_bureau_at IS NULL)
        AND (consent_recovery IS NULL) = (consent_recovery_at IS NULL));

-- "Who else has this BVN", "… this NIN", asked with every decision that is computed: customers who share one are one
-- person. Plain values and no hash of them: the table holds the values anyway, and 11 digits are soon tried through.
-- Not unique, because one person may have several numbers. Customers without one take no room here.
CREATE INDEX customers_of_bvn ON eligibility.customers (tenant, bvn) WHERE bvn IS NOT NULL;
CREATE INDEX customers_of_nin ON eligibility.customers (tenant, nin) WHERE nin IS NOT NULL;

-- Blocks on customers. A row is one placing; lifting it fills the rest of the row, once. It binds from placed_at until
-- it is lifted or its time is over, by the database's clock.
CREATE TABLE eligibility.customer_blocks (
    tenant       integer     NOT NULL,
    block_id     uuid        NOT NULL,  -- chosen by the client: the same request again is the same block
    customer     uuid        NOT NULL,
    code         text        NOT NULL CHECK (code ~ '^[a-z][a-z0-9_]{0,39}$'),
    reason       text        NOT NULL,  -- free text: never in an event
    until        timestamptz,           -- null: until it is lifted
    placed_by    text        NOT NULL,
    placed_at    timestamptz NOT NULL,
    lift_id      uuid,
    lifted_by    text,
    lifted_at    timestamptz,
    lift_reason  text,
    PRIMARY KEY (tenant, block_id),
    FOREIGN KEY (tenant, customer) REFERENCES eligibility.customers,
    CONSTRAINT customer_blocks_lift_is_whole
        CHECK (num_nonnulls(lift_id, lifted_by, lifted_at, lift_reason) IN (0, 4))
);

-- "Is this customer blocked", asked with every decision, and "the newest blocks of this customer". Few have any.
CREATE INDEX customer_blocks_of_customer ON eligibility.customer_blocks (tenant, customer, placed_at);

-- A lift is written into the block's row, and nothing else of it can be changed.
GRANT SELECT, INSERT ON eligibility.customer_blocks TO amana_eligibility;
GRANT UPDATE (lift_id, lifted_by, lifted_at, lift_reason) ON eligibility.customer_blocks TO amana_eligibility;
