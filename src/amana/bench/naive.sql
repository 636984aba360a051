-- A ledger as it is usually written first: one transaction for each transfer. A peer for `amana bench transfers`, in a
-- database of its own that is dropped afterwards. It has no foreign keys, which would make it slower.

-- name: make_accounts
-- Accounts, with room on the page for updates in place.
CREATE TABLE accounts (id bigint PRIMARY KEY, balance bigint NOT NULL, version bigint NOT NULL) WITH (fillfactor = 70);

-- name: make_transfers
-- Transfers under the caller's id.
CREATE TABLE transfers (
    id              uuid        PRIMARY KEY,
    debit_account   bigint      NOT NULL,
    credit_account  bigint      NOT NULL,
    amount          bigint      NOT NULL CHECK (amount > 0),
    posted_at       timestamptz NOT NULL DEFAULT now()
);

-- name: make_entries
-- Both sides of each transfer, with the balance after it.
CREATE TABLE entries (
    account   bigint NOT NULL,
    version   bigint NOT NULL,
    transfer  uuid   NOT NULL,
    amount    bigint NOT NULL,
    balance   bigint NOT NULL,
    PRIMARY KEY (account, version)
);

-- name: fill_accounts
-- As many accounts as the run wants, numbered from 0.
INSERT INTO accounts SELECT number, 0, 0 FROM generate_series(0, $1::bigint - 1) number;

-- name: lock_accounts
-- Both accounts, always in one order.
SELECT balance, version FROM accounts WHERE id IN ($1, $2) ORDER BY id FOR UPDATE;

-- name: insert_transfer
-- The transfer.
INSERT INTO transfers (id, debit_account, credit_account, amount) VALUES ($1, $2, $3, $4);

-- name: insert_entries
-- Its two entries: what the debit's and the credit's account had is its balance and version before.
INSERT INTO entries (transfer, account, amount, balance, version)
VALUES ($1, $2, $4::bigint, $5::bigint + $4::bigint, $6::bigint + 1),
       ($1, $3, -$4::bigint, $7::bigint - $4::bigint, $8::bigint + 1);

-- name: move_balances
-- The two balances.
UPDATE accounts SET balance = balance + CASE id WHEN $1 THEN $3::bigint ELSE -$3::bigint END, version = version + 1
WHERE id IN ($1, $2);

-- name: count_broken
-- Invariant: balances sum to zero and each is the sum of its entries.
SELECT (SELECT (coalesce(sum(balance), 0) <> 0)::int FROM accounts) + (
    SELECT count(*)
    FROM accounts a
    LEFT JOIN (SELECT account, sum(amount) AS sum FROM entries GROUP BY account) e ON e.account = a.id
    WHERE a.balance <> coalesce(e.sum, 0)
);

-- name: count_transfers
-- How many are stored.
SELECT count(*) FROM transfers;
