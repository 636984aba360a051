-- The keys of customers' personal data, in a database of its own: it is in no backup of the data that it opens.
-- Whoever destroys a key here has erased the customer from every backup of the main database.

CREATE SCHEMA IF NOT EXISTS vault;

-- The versions of the key file that may wrap. A version that was dropped is never taken again.
CREATE TABLE vault.keks (
    version     smallint    PRIMARY KEY CHECK (version > 0),
    made_at     timestamptz NOT NULL DEFAULT now(),
    dropped_at  timestamptz
);

-- One key a customer, wrapped under a key that only the key file has. A destroyed one stays as a row: nobody gets a
-- second key under the same id, so that nothing of the erased customer comes back as somebody else's.
CREATE TABLE vault.data_keys (
    tenant        integer     NOT NULL,
    customer      uuid        NOT NULL,
    kek           smallint    REFERENCES vault.keks,
    wrapped       bytea       CHECK (octet_length(wrapped) = 61),
    made_at       timestamptz NOT NULL DEFAULT now(),
    destroyed_at  timestamptz,
    PRIMARY KEY (tenant, customer),
    CONSTRAINT data_keys_are_whole_or_gone
        CHECK ((kek IS NULL) = (wrapped IS NULL) AND (wrapped IS NULL) = (destroyed_at IS NOT NULL))
);

-- "What is still wrapped under an old version": rotation goes through it a part at a time.
CREATE INDEX data_keys_by_kek ON vault.data_keys (kek, tenant, customer) WHERE kek IS NOT NULL;

-- Numbers that make a person (BVN, NIN): a keyed hash, and the random token that stands for the number in the main
-- database. Once the row is gone nothing ties that token to the number, in no backup and for nobody.
CREATE TABLE vault.numbers (
    tenant  integer NOT NULL,
    kind    text    NOT NULL CHECK (kind IN ('bvn', 'nin')),
    hidden  bytea   NOT NULL CHECK (octet_length(hidden) = 32),
    token   uuid    NOT NULL,
    PRIMARY KEY (tenant, kind, hidden)
);

-- Who has or had the number: it is forgotten with the last of them.
CREATE TABLE vault.number_uses (
    tenant    integer NOT NULL,
    kind      text    NOT NULL,
    hidden    bytea   NOT NULL,
    customer  uuid    NOT NULL,
    PRIMARY KEY (tenant, kind, hidden, customer),
    FOREIGN KEY (tenant, kind, hidden) REFERENCES vault.numbers
);

-- "Which numbers does this customer have", asked when they are erased.
CREATE INDEX number_uses_of_customer ON vault.number_uses (tenant, customer);

-- Who is to be erased, or was: remembered here first, so that a main database that is restored hears of it again.
CREATE TABLE vault.erasures (
    tenant        integer     NOT NULL,
    customer      uuid        NOT NULL,
    erasure_id    uuid        NOT NULL,
    reason        text        NOT NULL,  -- a code
    requested_by  text        NOT NULL,  -- the key's id
    requested_at  timestamptz NOT NULL,
    destroyed_at  timestamptz,
    PRIMARY KEY (tenant, customer)
);

-- One request an id: the same id for two customers at once is told here, before anything is done.
CREATE UNIQUE INDEX erasures_by_id ON vault.erasures (tenant, erasure_id);

GRANT USAGE ON SCHEMA vault TO amana_eligibility;
GRANT SELECT, INSERT ON vault.keks, vault.data_keys, vault.numbers, vault.number_uses, vault.erasures
    TO amana_eligibility;
-- A shared lock on a version needs the right to change it; rotation, which is the owner's, is what changes it.
GRANT UPDATE (version) ON vault.keks TO amana_eligibility;
GRANT UPDATE (kek, wrapped, destroyed_at) ON vault.data_keys TO amana_eligibility;
GRANT UPDATE (token), DELETE ON vault.numbers TO amana_eligibility;
GRANT DELETE ON vault.number_uses TO amana_eligibility;
GRANT UPDATE (destroyed_at) ON vault.erasures TO amana_eligibility;
