-- name: shorten_lock_timeout
-- Until the end of this transaction a lock is waited for so many milliseconds at most; whether that is less than before.
SELECT set_config('lock_timeout', least(wanted.ms, before.ms)::text, true),
       before.ms IS NULL OR wanted.ms < before.ms AS shortened
FROM (SELECT $1::text::integer AS ms) AS wanted,
     -- without a bound it is 0
     (SELECT nullif((1000 * extract(epoch FROM current_setting('lock_timeout')::interval))::integer, 0) AS ms) AS before;
