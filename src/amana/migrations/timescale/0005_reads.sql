-- What is read, the same in both forms; a part that is not asked for is not looked at.

DO $$
BEGIN
  EXECUTE (
    SELECT string_agg(
      format('CREATE VIEW timescale.%1$I AS %2$s;', what,
             (SELECT string_agg(format('SELECT %1$L::text AS per, * FROM timescale.%2$s_%1$s', per, what),
                                ' UNION ALL ')
              FROM unnest(ARRAY['minute', 'hour', 'day']) AS per)),
      ' ')
    FROM unnest(ARRAY['decisions', 'transfers', 'latencies']) AS what);
END $$;
GRANT SELECT ON timescale.decisions, timescale.transfers, timescale.latencies TO amana_metrics;

-- The service may have the upkeep done, but not say what day it is: a wrong one would drop what is still wanted.
CREATE FUNCTION timescale.upkeep() RETURNS TABLE (made integer, dropped integer) LANGUAGE sql SECURITY DEFINER
SET search_path = timescale, pg_temp AS 'SELECT * FROM timescale.upkeep_at(now())';
REVOKE ALL ON FUNCTION timescale.upkeep_at(timestamptz), timescale.upkeep() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION timescale.upkeep() TO amana_metrics;

-- Forgets the trail and its counts, to be made again from the log, but for days that are older than what is taken from
-- there. Latencies stay: they are nowhere else.
CREATE FUNCTION timescale.forget() RETURNS timestamptz LANGUAGE plpgsql AS $$
DECLARE
  since CONSTANT timestamptz := timescale.bucket('day', now() - INTERVAL '380 days');
  counted text;
BEGIN
  UPDATE timescale.progress SET next_position = 0;
  DELETE FROM timescale.audit_trail WHERE occurred_at >= since;
  IF timescale.form() = 'plain' THEN
    FOR counted IN SELECT format('%s_%s', what, per)
                   FROM unnest(ARRAY['decisions', 'transfers']) AS what, unnest(ARRAY['minute', 'hour', 'day']) AS per
    LOOP
      EXECUTE format('DELETE FROM timescale.%I WHERE bucket >= $1', counted) USING since;
    END LOOP;
  END IF;
  RETURN since;
END $$;
REVOKE ALL ON FUNCTION timescale.forget() FROM PUBLIC;
