-- name: forget
-- Forgets the trail and its counts, to be made again from the log; since when.
SELECT forget();
