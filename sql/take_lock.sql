-- Waits for the advisory lock named $1, no longer than lock_timeout.
-- Locks: that, until the transaction ends. May be run again.
SELECT pg_advisory_xact_lock(hashtextextended($1, 0))
