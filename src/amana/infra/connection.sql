-- name: shorten_lock_timeout
-- Until the end of this transaction a lock is waited for so many milliseconds at most; whether that is less than before.
SELECT set_config('lock_timeout', least($1::text::integer, before.ms)::text, true) IS NOT NULL AND $1::text::integer < coalesce(before.ms, $1::text::integer + 1)
FROM (SELECT nullif((1000 * extract(epoch FROM current_setting('lock_timeout')::interval))::integer, 0) AS ms) AS before;
