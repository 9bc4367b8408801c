-- How long a statement may wait for a lock; $2 is whether for this transaction only.
-- Locks nothing. May be run again.
SELECT set_config('lock_timeout', $1, $2)
