-- Counting what a statement added costs a few microseconds a row, where it took some thirty: the statements are planned
-- once for a session, rows are read once for the three widths, and the sums of a minute make those of the hour and the
-- day. What is counted, and when, is as before.

-- The same, in a form that PostgreSQL can put into the statement that uses it: reading a width from a text depends on a
-- setting, so that a function which says IMMUTABLE was called for every row.
CREATE OR REPLACE FUNCTION timescale.bucket(per text, at timestamptz) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$
  SELECT date_bin(CASE per WHEN 'minute' THEN INTERVAL '1 minute'
                           WHEN 'hour' THEN INTERVAL '1 hour'
                           WHEN 'day' THEN INTERVAL '1 day' END,
                  at, TIMESTAMPTZ '2000-01-02 23:00:00+00')
$$;

DO $$
BEGIN
  IF timescale.form() <> 'plain' THEN
    RETURN;
  END IF;

  -- Counts what a statement added, once: rows that were there already are not among `added`. In key order, and the
  -- tables in the same one, so that two writers wait for each other and never deadlock.
  CREATE OR REPLACE FUNCTION timescale.count_trail() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = timescale, pg_temp AS $count$
  BEGIN
    WITH minutes AS MATERIALIZED (
      SELECT bucket('minute', occurred_at) AS bucket, tenant, product, policy, policy_version, outcome, kind,
             count(*) AS decisions
      FROM added WHERE kind IN ('asked', 'requested', 'replayed', 'overridden', 'reversed')
      GROUP BY 1, 2, 3, 4, 5, 6, 7
    ), hours AS MATERIALIZED (
      SELECT bucket('hour', bucket) AS bucket, tenant, product, policy, policy_version, outcome, kind,
             sum(decisions)::bigint AS decisions
      FROM minutes GROUP BY 1, 2, 3, 4, 5, 6, 7
    ), by_minute AS (
      INSERT INTO decisions_minute AS counted SELECT * FROM minutes ORDER BY 1, 2, 3, 4, 5, 6, 7
      ON CONFLICT (tenant, bucket, product, policy, policy_version, outcome, kind)
      DO UPDATE SET decisions = counted.decisions + excluded.decisions
    ), by_hour AS (
      INSERT INTO decisions_hour AS counted SELECT * FROM hours ORDER BY 1, 2, 3, 4, 5, 6, 7
      ON CONFLICT (tenant, bucket, product, policy, policy_version, outcome, kind)
      DO UPDATE SET decisions = counted.decisions + excluded.decisions
    )
    INSERT INTO decisions_day AS counted
    SELECT bucket('day', bucket), tenant, product, policy, policy_version, outcome, kind, sum(decisions)
    FROM hours GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY 1, 2, 3, 4, 5, 6, 7
    ON CONFLICT (tenant, bucket, product, policy, policy_version, outcome, kind)
    DO UPDATE SET decisions = counted.decisions + excluded.decisions;

    WITH minutes AS MATERIALIZED (
      SELECT bucket('minute', occurred_at) AS bucket, tenant, product, kind, code, currency, amount_band,
             count(*) AS transfers, sum(amount) AS amount
      FROM added WHERE kind IN ('posted', 'returned', 'captured', 'held', 'voided', 'expired')
      GROUP BY 1, 2, 3, 4, 5, 6, 7
    ), hours AS MATERIALIZED (
      SELECT bucket('hour', bucket) AS bucket, tenant, product, kind, code, currency, amount_band,
             sum(transfers)::bigint AS transfers, sum(amount) AS amount
      FROM minutes GROUP BY 1, 2, 3, 4, 5, 6, 7
    ), by_minute AS (
      INSERT INTO transfers_minute AS counted SELECT * FROM minutes ORDER BY 1, 2, 3, 4, 5, 6, 7
      ON CONFLICT (tenant, bucket, product, kind, code, currency, amount_band)
      DO UPDATE SET transfers = counted.transfers + excluded.transfers, amount = counted.amount + excluded.amount
    ), by_hour AS (
      INSERT INTO transfers_hour AS counted SELECT * FROM hours ORDER BY 1, 2, 3, 4, 5, 6, 7
      ON CONFLICT (tenant, bucket, product, kind, code, currency, amount_band)
      DO UPDATE SET transfers = counted.transfers + excluded.transfers, amount = counted.amount + excluded.amount
    )
    INSERT INTO transfers_day AS counted
    SELECT bucket('day', bucket), tenant, product, kind, code, currency, amount_band, sum(transfers), sum(amount)
    FROM hours GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY 1, 2, 3, 4, 5, 6, 7
    ON CONFLICT (tenant, bucket, product, kind, code, currency, amount_band)
    DO UPDATE SET transfers = counted.transfers + excluded.transfers, amount = counted.amount + excluded.amount;
    RETURN NULL;
  END $count$;
END $$;
