-- name: shorten_lock_timeout
-- Until the end of this transaction a lock is waited for so many milliseconds.
SELECT set_config('lock_timeout', $1, true);
