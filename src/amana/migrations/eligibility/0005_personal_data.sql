-- What identifies a customer and what people wrote is sealed under the customer's own key, which is in no table here.

-- What decisions need of the record and what they don't are sealed apart. A token stands for a number (BVN, NIN): it
-- is drawn at random, the same for all who have the number, and tells nothing of it.
ALTER TABLE eligibility.customers
    ADD COLUMN birth_sealed     bytea,
    ADD COLUMN identity_sealed  bytea,
    ADD COLUMN bank_known       boolean NOT NULL DEFAULT false,
    ADD COLUMN bvn_token        uuid,
    ADD COLUMN nin_token        uuid,
    -- `restricted`: kept and not used, until it is erased. `erased`: nothing personal is left, nor comes back.
    ADD COLUMN processing       text NOT NULL DEFAULT 'open'
        CONSTRAINT customers_processing CHECK (processing IN ('open', 'restricted', 'erased')),
    ADD CONSTRAINT customers_erased_has_nothing CHECK (
        processing <> 'erased' OR num_nonnulls(birth_sealed, identity_sealed, bvn_token, nin_token) = 0),
    -- Not valid where rows from before are here still: `amana privacy encrypt` seals those and makes it valid.
    ADD CONSTRAINT customers_hold_no_clear_text
        CHECK (num_nonnulls(birth_date, bank_code, nuban, phone, bvn, nin) = 0) NOT VALID;

-- "Who else has this BVN", "… this NIN", asked with every decision that is computed: customers who share one are one
-- person. Not unique, because one person may have several numbers. Customers without one take no room here.
DROP INDEX eligibility.customers_of_bvn, eligibility.customers_of_nin;
CREATE INDEX customers_of_bvn ON eligibility.customers (tenant, bvn_token) WHERE bvn_token IS NOT NULL;
CREATE INDEX customers_of_nin ON eligibility.customers (tenant, nin_token) WHERE nin_token IS NOT NULL;

-- Why blocks were placed and lifted.
ALTER TABLE eligibility.customer_blocks
    ADD COLUMN words_sealed       bytea,
    ADD COLUMN lift_words_sealed  bytea,
    ALTER COLUMN reason DROP NOT NULL,
    DROP CONSTRAINT customer_blocks_lift_is_whole,
    ADD CONSTRAINT customer_blocks_lift_is_whole CHECK (num_nonnulls(lift_id, lifted_by, lifted_at) IN (0, 3)),
    ADD CONSTRAINT customer_blocks_hold_no_clear_text CHECK (num_nonnulls(reason, lift_reason) = 0) NOT VALID;
GRANT UPDATE (words_sealed, lift_words_sealed) ON eligibility.customer_blocks TO amana_eligibility;

-- What people wrote in reviews, with the salt of its digest; and whose it is, so that it goes with them.
ALTER TABLE eligibility.review_words
    ADD COLUMN customer  uuid,
    ADD COLUMN sealed    bytea,
    ALTER COLUMN reason DROP NOT NULL,
    ALTER COLUMN salt DROP NOT NULL,
    ADD CONSTRAINT review_words_hold_no_clear_text CHECK (num_nonnulls(reviewer, reason, salt) = 0) NOT VALID,
    ADD CONSTRAINT review_words_are_somebodys CHECK (num_nonnulls(customer, sealed) IN (0, 2));
-- "What was written about this customer", asked when they are erased, and for a copy of their data.
CREATE INDEX review_words_of_customer ON eligibility.review_words (tenant, customer);
GRANT DELETE ON eligibility.review_words TO amana_eligibility;

-- A database without such rows needs no `encrypt`.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM eligibility.customers
                   WHERE num_nonnulls(birth_date, bank_code, nuban, phone, bvn, nin) > 0) THEN
        ALTER TABLE eligibility.customers VALIDATE CONSTRAINT customers_hold_no_clear_text;
    END IF;
    IF NOT EXISTS (SELECT FROM eligibility.customer_blocks WHERE num_nonnulls(reason, lift_reason) > 0) THEN
        ALTER TABLE eligibility.customer_blocks VALIDATE CONSTRAINT customer_blocks_hold_no_clear_text;
    END IF;
    IF NOT EXISTS (SELECT FROM eligibility.review_words WHERE num_nonnulls(reviewer, reason, salt) > 0) THEN
        ALTER TABLE eligibility.review_words VALIDATE CONSTRAINT review_words_hold_no_clear_text;
    END IF;
END $$;

-- Requests to erase a customer. From the request on the customer is restricted; what is left of them is destroyed once
-- no law keeps it any longer. `next_at` is when that is looked at again, by the database's clock.
CREATE TABLE eligibility.erasures (
    tenant        integer     NOT NULL,
    erasure_id    uuid        NOT NULL,
    customer      uuid        NOT NULL,
    reason        text        NOT NULL CHECK (reason ~ '^[a-z][a-z0-9_]{0,39}$'),  -- a code: no free text
    requested_by  text        NOT NULL,
    requested_at  timestamptz NOT NULL,
    version       bigint      NOT NULL DEFAULT 0,  -- of what is planned: one more whenever due_at is another
    due_at        timestamptz,                     -- null: not before what is owed is paid
    next_at       timestamptz NOT NULL,
    destroyed_at  timestamptz,
    PRIMARY KEY (tenant, erasure_id),
    FOREIGN KEY (tenant, customer) REFERENCES eligibility.customers,
    -- A customer is erased once, and how it stands is asked by customer.
    UNIQUE (tenant, customer)
);

-- "Which are to be looked at now." Those that are done take no room here.
CREATE INDEX erasures_next ON eligibility.erasures (next_at) WHERE destroyed_at IS NULL;

GRANT SELECT, INSERT ON eligibility.erasures TO amana_eligibility;
GRANT UPDATE (version, due_at, next_at, destroyed_at) ON eligibility.erasures TO amana_eligibility;

-- "The decisions of this customer, newest first": how long the law keeps them, and a copy of all that is known.
CREATE INDEX decisions_of_customer ON eligibility.decisions (tenant, customer, decided_at);
