-- The form `plain`: native partitions by range of time, and counts that triggers keep in the inserting transaction.
--
-- `upkeep_at` makes the partitions of all that is kept and of the next two steps, and drops those that are over. What
-- has none (a clock that was wrong) is in the default partition and moves when its own is made; reads see it meanwhile.

DO $$
DECLARE
  per text;
BEGIN
  IF timescale.form() <> 'plain' THEN
    RETURN;
  END IF;

  CREATE TABLE timescale.kept (
    relation text NOT NULL,
    at_column text NOT NULL,
    step interval NOT NULL,           -- the time of one partition
    kept interval NOT NULL,           -- how long after its end it stays
    -- One rule per partitioned table.
    CONSTRAINT kept_pkey PRIMARY KEY (relation),
    -- A step of months has no fixed length.
    CONSTRAINT kept_steps_are_of_days CHECK (step >= INTERVAL '1 day' AND date_trunc('month', step) = INTERVAL '0')
  );
  INSERT INTO timescale.kept VALUES
    ('audit_trail', 'occurred_at', '7 days', '400 days'),
    ('route_latencies', 'measured_at', '1 day', '8 days');

  FOREACH per IN ARRAY ARRAY['minute', 'hour', 'day'] LOOP
    EXECUTE format(
      'CREATE TABLE timescale.decisions_%1$s (
         bucket timestamptz NOT NULL, tenant integer NOT NULL, product text NOT NULL, policy text NOT NULL,
         policy_version integer NOT NULL, outcome text NOT NULL, kind text NOT NULL, decisions bigint NOT NULL,
         CONSTRAINT decisions_%1$s_pkey
           PRIMARY KEY (tenant, bucket, product, policy, policy_version, outcome, kind))', per);
    EXECUTE format(
      'CREATE TABLE timescale.transfers_%1$s (
         bucket timestamptz NOT NULL, tenant integer NOT NULL, product text NOT NULL, kind text NOT NULL,
         code text NOT NULL, currency text NOT NULL, amount_band bigint NOT NULL,
         transfers bigint NOT NULL, amount numeric NOT NULL,
         CONSTRAINT transfers_%1$s_pkey
           PRIMARY KEY (tenant, bucket, product, kind, code, currency, amount_band))', per);
    EXECUTE format(
      'CREATE TABLE timescale.latencies_%1$s (
         bucket timestamptz NOT NULL, service text NOT NULL, method text NOT NULL, route text NOT NULL,
         status_class text NOT NULL, le_us integer NOT NULL, requests bigint NOT NULL, total_us bigint NOT NULL,
         CONSTRAINT latencies_%1$s_pkey PRIMARY KEY (bucket, service, method, route, status_class, le_us))', per);
    IF per <> 'day' THEN  -- days are few, and stay
      INSERT INTO timescale.kept
      SELECT format('%s_%s', what, per), 'bucket',
             CASE per WHEN 'minute' THEN INTERVAL '7 days' ELSE INTERVAL '28 days' END,
             CASE per WHEN 'minute' THEN INTERVAL '14 days' ELSE INTERVAL '400 days' END
      FROM unnest(ARRAY['decisions', 'transfers', 'latencies']) AS what;
    END IF;
  END LOOP;

  -- Each table becomes the default partition of a partitioned one that takes its name and shape.
  DECLARE
    one record;
  BEGIN
    FOR one IN SELECT * FROM timescale.kept LOOP
      EXECUTE format('ALTER TABLE timescale.%1$I RENAME TO %2$I', one.relation, one.relation || '_default');
      EXECUTE format('ALTER TABLE timescale.%1$I RENAME CONSTRAINT %2$I TO %3$I',
                     one.relation || '_default', one.relation || '_pkey', one.relation || '_default_pkey');
      EXECUTE format('CREATE TABLE timescale.%1$I (LIKE timescale.%2$I INCLUDING ALL) PARTITION BY RANGE (%3$I)',
                     one.relation, one.relation || '_default', one.at_column);
      EXECUTE format('ALTER TABLE timescale.%1$I ATTACH PARTITION timescale.%2$I DEFAULT',
                     one.relation, one.relation || '_default');
    END LOOP;
  END;
  GRANT SELECT, INSERT ON timescale.audit_trail, timescale.route_latencies TO amana_metrics;
  REVOKE ALL ON timescale.audit_trail_default, timescale.route_latencies_default FROM amana_metrics;

  -- Counts what a statement added, once: rows that were there already are not among `added`. In key order, so
  -- that two writers wait for each other and never deadlock.
  CREATE FUNCTION timescale.count_trail() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = timescale, pg_temp AS $count$
  DECLARE
    per text;
  BEGIN
    FOREACH per IN ARRAY ARRAY['minute', 'hour', 'day'] LOOP
      EXECUTE format(
        'INSERT INTO decisions_%1$s AS counted
         SELECT bucket(%1$L, occurred_at), tenant, product, policy, policy_version, outcome, kind, count(*)
         FROM added WHERE kind IN (''asked'', ''requested'', ''replayed'', ''overridden'', ''reversed'')
         GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY 1, 2, 3, 4, 5, 6, 7
         ON CONFLICT (tenant, bucket, product, policy, policy_version, outcome, kind)
         DO UPDATE SET decisions = counted.decisions + excluded.decisions', per);
      EXECUTE format(
        'INSERT INTO transfers_%1$s AS counted
         SELECT bucket(%1$L, occurred_at), tenant, product, kind, code, currency, amount_band, count(*), sum(amount)
         FROM added WHERE kind IN (''posted'', ''returned'', ''captured'', ''held'', ''voided'', ''expired'')
         GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY 1, 2, 3, 4, 5, 6, 7
         ON CONFLICT (tenant, bucket, product, kind, code, currency, amount_band)
         DO UPDATE SET transfers = counted.transfers + excluded.transfers,
                       amount = counted.amount + excluded.amount',
        per);
    END LOOP;
    RETURN NULL;
  END $count$;
  CREATE TRIGGER count_trail AFTER INSERT ON timescale.audit_trail REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION timescale.count_trail();

  CREATE FUNCTION timescale.count_latencies() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = timescale, pg_temp AS $count$
  DECLARE
    per text;
  BEGIN
    FOREACH per IN ARRAY ARRAY['minute', 'hour', 'day'] LOOP
      EXECUTE format(
        'INSERT INTO latencies_%1$s AS counted
         SELECT bucket(%1$L, measured_at), service, method, route, status_class, le_us, sum(requests), sum(total_us)
         FROM added GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6
         ON CONFLICT (bucket, service, method, route, status_class, le_us)
         DO UPDATE SET requests = counted.requests + excluded.requests,
                       total_us = counted.total_us + excluded.total_us',
        per);
    END LOOP;
    RETURN NULL;
  END $count$;
  CREATE TRIGGER count_latencies AFTER INSERT ON timescale.route_latencies REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION timescale.count_latencies();

  -- One run is short, and for one table: others wait for its locks, and in no order that could deadlock. It makes 10
  -- partitions at most, those of now first, drops 10, and takes 10,000 rows that are over from the default one. What
  -- can't be locked within 2 s is left for the next run.
  CREATE FUNCTION timescale.upkeep_at(at timestamptz) RETURNS TABLE (made integer, dropped integer)
  LANGUAGE plpgsql SET lock_timeout = '2s' SET timezone = 'UTC' AS $upkeep$
  DECLARE
    parts_max CONSTANT integer := 10;
    epoch CONSTANT timestamptz := '2000-01-03 00:00:00+00';  -- a Monday
    one record;
    old record;
    start timestamptz;
    part text;
    gone integer;
  BEGIN
    made := 0;
    dropped := 0;
    IF pg_try_advisory_xact_lock(7305804385274524270) THEN  -- one at a time
      FOR one IN SELECT * FROM timescale.kept ORDER BY relation LOOP
        FOR start IN
          SELECT generate_series(date_bin(one.step, at, epoch) + 2 * one.step, at - one.kept - one.step, - one.step)
        LOOP
          EXIT WHEN made >= parts_max;
          part := format('%s_%s', one.relation, to_char(start, 'YYYYMMDD'));
          CONTINUE WHEN to_regclass(format('timescale.%I', part)) IS NOT NULL;
          EXECUTE format('CREATE TABLE timescale.%I (LIKE timescale.%I INCLUDING ALL)', part, one.relation);
          EXECUTE format('WITH moved AS (DELETE FROM timescale.%1$I WHERE %2$I >= %4$L AND %2$I < %5$L RETURNING *)
                          INSERT INTO timescale.%3$I SELECT * FROM moved',
                         one.relation || '_default', one.at_column, part, start, start + one.step);
          EXECUTE format('ALTER TABLE timescale.%I ATTACH PARTITION timescale.%I FOR VALUES FROM (%L) TO (%L)',
                         one.relation, part, start, start + one.step);
          made := made + 1;
        END LOOP;
        FOR old IN
          SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
          WHERE i.inhparent = format('timescale.%I', one.relation)::regclass AND c.relname ~ '_[0-9]{8}$'
            AND to_date(right(c.relname, 8), 'YYYYMMDD')::timestamptz + one.step <= at - one.kept
          ORDER BY c.relname LIMIT parts_max - dropped
        LOOP
          EXECUTE format('DROP TABLE timescale.%I', old.relname);
          dropped := dropped + 1;
        END LOOP;
        EXECUTE format('DELETE FROM timescale.%1$I WHERE ctid = ANY (ARRAY(
                          SELECT ctid FROM timescale.%1$I WHERE %2$I < %3$L LIMIT 10000))',
                       one.relation || '_default', one.at_column, at - one.kept);
        GET DIAGNOSTICS gone = ROW_COUNT;
        dropped := dropped + gone / 10000;  -- a full share: there may be more
        EXIT WHEN made + dropped > 0;
      END LOOP;
    END IF;
    RETURN NEXT;
  END $upkeep$;
END $$;
