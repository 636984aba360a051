-- The statements of `amana eligibility prequalify`. They only read. Names are unqualified: search_path decides.

-- name: count_customers
-- How many customers a lender has that may be decided about, at most $2: how far the work is.
SELECT count(*) FROM (SELECT FROM customers WHERE tenant = $1 AND processing = 'open' LIMIT $2) AS counted;

-- name: page_customers
-- The next customers of a lender by id, from $2 on, without those who are to be erased.
SELECT customer
FROM customers
WHERE tenant = $1 AND customer >= $2 AND processing = 'open'
ORDER BY customer
LIMIT $3;
