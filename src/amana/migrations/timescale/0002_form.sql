-- Which form the series have here, for good: `timescale` where the extension is there, or may be made by us, under the
-- licence with compression and continuous aggregates; else `plain`, native partitions with counts kept by triggers.
-- A URL of the owner that ends in `?amana.metrics_form=plain` asks for the plain form all the same.

DO $$
DECLARE
  form text := 'plain';
BEGIN
  IF coalesce(current_setting('amana.metrics_form', true), '') <> 'plain' THEN
    -- Loaded with the server: where the setting is unknown it is not, and CREATE EXTENSION would end the session.
    IF current_setting('timescaledb.max_background_workers', true) IS NOT NULL THEN
      BEGIN
        CREATE EXTENSION IF NOT EXISTS timescaledb;
      EXCEPTION WHEN insufficient_privilege OR undefined_file OR feature_not_supported THEN
        RAISE NOTICE 'TimescaleDB is loaded and can''t be made in this database: %', SQLERRM;
      END;
    END IF;
    IF EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb')
       AND current_setting('timescaledb.license', true) = 'timescale' THEN
      form := 'timescale';
    END IF;
  END IF;
  EXECUTE format('CREATE FUNCTION timescale.form() RETURNS text LANGUAGE sql IMMUTABLE AS %L',
                 format('SELECT %L', form));
END $$;

-- Where the bucket of an instant begins. A day is a day of Lagos, which is always an hour before UTC.
CREATE FUNCTION timescale.bucket(per text, at timestamptz) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$
  SELECT date_bin(('1 ' || per)::interval, at, TIMESTAMPTZ '2000-01-02 23:00:00+00')
$$;
