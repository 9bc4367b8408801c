-- Sets how long a statement may wait for a lock ($1): for this transaction only if $2, else for the session.
-- Locks nothing. May be run again.
SELECT set_config('lock_timeout', $1, $2)
