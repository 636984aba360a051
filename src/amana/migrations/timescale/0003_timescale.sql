-- The form `timescale`: hypertables, columnstore, retention and continuous aggregates, all kept up by the extension.
--
-- Aggregates are made from the rows and not from one another, so that each may outlive what is finer. None looks back
-- to where rows are dropped already: there it would count what is left.

DO $$
DECLARE
  width record;
  origin CONSTANT text := 'TIMESTAMPTZ ''2000-01-02 23:00:00+00''';
BEGIN
  IF timescale.form() <> 'timescale' THEN
    RETURN;
  END IF;
  PERFORM set_config('search_path', format('timescale, %I', n.nspname), true)
  FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'timescaledb';

  PERFORM create_hypertable('timescale.audit_trail'::regclass, 'occurred_at'::name,
                            chunk_time_interval => INTERVAL '7 days', create_default_indexes => false);
  ALTER TABLE timescale.audit_trail SET (timescaledb.compress, timescaledb.compress_segmentby = 'stream',
                                         timescaledb.compress_orderby = 'occurred_at, position');
  PERFORM add_compression_policy('timescale.audit_trail'::regclass, compress_after => INTERVAL '14 days');
  PERFORM add_retention_policy('timescale.audit_trail'::regclass, INTERVAL '400 days');

  PERFORM create_hypertable('timescale.route_latencies'::regclass, 'measured_at'::name,
                            chunk_time_interval => INTERVAL '1 day', create_default_indexes => false);
  ALTER TABLE timescale.route_latencies SET (timescaledb.compress, timescaledb.compress_segmentby = 'service, route',
                                             timescaledb.compress_orderby = 'measured_at, instance');
  PERFORM add_compression_policy('timescale.route_latencies'::regclass, compress_after => INTERVAL '1 day');
  PERFORM add_retention_policy('timescale.route_latencies'::regclass, INTERVAL '8 days');

  FOR width IN
    SELECT * FROM (VALUES
      ('minute', INTERVAL '1 minute', INTERVAL '14 days', INTERVAL '1 minute'),
      ('hour', INTERVAL '1 hour', INTERVAL '400 days', INTERVAL '10 minutes'),
      ('day', INTERVAL '1 day', NULL, INTERVAL '1 hour')) AS w (per, size, kept, every)
  LOOP
    EXECUTE format(
      'CREATE MATERIALIZED VIEW timescale.decisions_%1$s
       WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
       SELECT time_bucket(%2$L::interval, occurred_at, origin => %3$s) AS bucket,
              tenant, product, policy, policy_version, outcome, kind, count(*) AS decisions
       FROM timescale.audit_trail
       WHERE kind IN (''asked'', ''requested'', ''replayed'', ''overridden'', ''reversed'')
       GROUP BY 1, 2, 3, 4, 5, 6, 7
       WITH NO DATA', width.per, width.size, origin);
    EXECUTE format(
      'CREATE MATERIALIZED VIEW timescale.transfers_%1$s
       WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
       SELECT time_bucket(%2$L::interval, occurred_at, origin => %3$s) AS bucket,
              tenant, product, kind, code, currency, amount_band, count(*) AS transfers, sum(amount) AS amount
       FROM timescale.audit_trail
       WHERE kind IN (''posted'', ''returned'', ''captured'', ''held'', ''voided'', ''expired'')
       GROUP BY 1, 2, 3, 4, 5, 6, 7
       WITH NO DATA', width.per, width.size, origin);
    EXECUTE format(
      'CREATE MATERIALIZED VIEW timescale.latencies_%1$s
       WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
       SELECT time_bucket(%2$L::interval, measured_at, origin => %3$s) AS bucket,
              service, method, route, status_class, le_us, sum(requests) AS requests, sum(total_us) AS total_us
       FROM timescale.route_latencies
       GROUP BY 1, 2, 3, 4, 5, 6
       WITH NO DATA', width.per, width.size, origin);
    -- Two buckets at least must lie between the two ends; what is newer than the end is read from the rows.
    PERFORM add_continuous_aggregate_policy(format('timescale.%s_%s', what, width.per)::regclass,
              start_offset => least(INTERVAL '392 days', coalesce(width.kept, INTERVAL '392 days')),
              end_offset => width.size, schedule_interval => width.every)
    FROM unnest(ARRAY['decisions', 'transfers']) AS what;
    PERFORM add_continuous_aggregate_policy(format('timescale.latencies_%s', width.per)::regclass,
              start_offset => INTERVAL '6 days', end_offset => width.size, schedule_interval => width.every);
    IF width.kept IS NOT NULL THEN
      PERFORM add_retention_policy(format('timescale.%s_%s', what, width.per)::regclass, width.kept)
      FROM unnest(ARRAY['decisions', 'transfers', 'latencies']) AS what;
    END IF;
  END LOOP;

  CREATE FUNCTION timescale.upkeep_at(at timestamptz) RETURNS TABLE (made integer, dropped integer)
  LANGUAGE sql AS 'SELECT 0, 0';  -- the extension's own jobs do it
END $$;
