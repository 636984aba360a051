-- Loans that are undone because their decision was reversed, and offers that are closed for the same reason.

ALTER TABLE transactions.loans
    ADD COLUMN reversal    uuid,         -- the reversal of its decision that undoes it, from when it began
    ADD COLUMN reversed_by uuid,         -- the command that moved its money back
    ADD COLUMN reversed_at timestamptz,
    ADD CONSTRAINT loans_reversed_as_a_whole
        CHECK ((reversed_by IS NULL) = (reversed_at IS NULL) AND (reversed_by IS NULL OR reversal IS NOT NULL)),
    -- What was paid on it is the customer's again.
    ADD CONSTRAINT loans_reversed_have_nothing_paid
        CHECK (reversed_by IS NULL OR (principal_paid = 0 AND fee_paid = 0));

-- Offers that are never booked, in their customer's shard: under the same lock as the bookings, a confirmation that was
-- given before the reversal comes too late.
CREATE TABLE transactions.withdrawn_offers (
    shard         smallint    NOT NULL,
    tenant        integer     NOT NULL,
    offer         uuid        NOT NULL,
    reversal      uuid        NOT NULL,  -- of its decision
    withdrawn_at  timestamptz NOT NULL,
    PRIMARY KEY (shard, tenant, offer)
);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transactions.withdrawn_offers
    FOR EACH STATEMENT EXECUTE FUNCTION transactions.refuse_change();

GRANT SELECT, INSERT ON transactions.withdrawn_offers TO amana_transactions;
