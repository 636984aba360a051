-- What a bench asks of the database around its runs. Run as the owner: nothing here is on a request's path.

-- name: transfers_stored
-- How many transfers a tenant has.
SELECT count(*) FROM transactions.transfers WHERE tenant = $1;

-- name: balances_not_zero
-- Invariant: in every currency the sum of all balances is zero.
SELECT count(*)
FROM (
    SELECT currency
    FROM transactions.accounts
    WHERE tenant = $1
    GROUP BY currency
    HAVING sum(debits_posted) <> sum(credits_posted)
) broken;

-- name: counters_not_folded
-- Invariant: an account's counters are the fold of its entries, whose versions run from 1 without a gap.
SELECT count(*)
FROM transactions.accounts a
LEFT JOIN (
    SELECT account, count(*) AS count, max(version) AS last,
           sum(posted) FILTER (WHERE side = 'debit') AS debits_posted,
           sum(pending) FILTER (WHERE side = 'debit') AS debits_pending,
           sum(posted) FILTER (WHERE side = 'credit') AS credits_posted,
           sum(pending) FILTER (WHERE side = 'credit') AS credits_pending
    FROM transactions.entries
    WHERE tenant = $1
    GROUP BY account
) e ON e.account = a.id
WHERE a.tenant = $1
  AND (a.debits_posted, a.debits_pending, a.credits_posted, a.credits_pending, a.version, a.version)
      IS DISTINCT FROM
      (coalesce(e.debits_posted, 0), coalesce(e.debits_pending, 0), coalesce(e.credits_posted, 0),
       coalesce(e.credits_pending, 0), coalesce(e.count, 0), coalesce(e.last, 0));

-- name: limits_broken
-- Invariant: no account is drawn above its credit limit.
SELECT count(*)
FROM transactions.accounts
WHERE tenant = $1 AND debits_posted + debits_pending - credits_posted > credit_limit;

-- name: server_settings
-- The settings that a figure depends on, as SHOW would say them.
SELECT name, current_setting(name) AS value FROM pg_settings WHERE name = ANY($1::text[]);

-- name: table_sizes
-- Bytes of each table of the ledger with its indexes, partitions counted with their parent.
SELECT coalesce(pg_partition_root(c.oid), c.oid::regclass)::text AS name,
       sum(pg_total_relation_size(c.oid))::bigint AS bytes, sum(pg_indexes_size(c.oid))::bigint AS index_bytes
FROM pg_class c
WHERE c.relnamespace = 'transactions'::regnamespace AND c.relkind IN ('r', 'p')
GROUP BY 1
ORDER BY 2 DESC;

-- name: account_updates
-- Updates of accounts so far, and how many of them were HOT (touched no index).
SELECT coalesce(sum(n_tup_upd), 0)::bigint AS updates, coalesce(sum(n_tup_hot_upd), 0)::bigint AS hot
FROM pg_stat_user_tables
WHERE schemaname = 'transactions' AND relname LIKE 'accounts%';

-- name: wal_bytes
-- Bytes of write-ahead log since the server was made.
SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint AS bytes;

-- name: decisions_stored
-- How many decisions a tenant has.
SELECT count(*) FROM eligibility.decisions WHERE tenant = $1;

-- name: stream_stands
-- How many events of transactions have a position, and how many of them the broker has acknowledged.
SELECT last_position + 1 AS sequenced, published + 1 AS published FROM transactions.stream;

-- name: audit_sizes
-- Bytes of each table of the audit log with its indexes. Runs in audit's database.
SELECT relname AS name, pg_total_relation_size(oid)::bigint AS bytes, pg_indexes_size(oid)::bigint AS index_bytes
FROM pg_class
WHERE relnamespace = to_regnamespace('audit') AND relkind = 'r'
ORDER BY 2 DESC;

-- name: forget_standings
-- Nobody was ever asked about: the projection of the ledger's standings is empty. The service rests meanwhile.
TRUNCATE eligibility.ledger_standings;
