-- Waits for the advisory lock named $1, for at most the time in lock_timeout.
-- Locks: the advisory lock, until the transaction ends. May be run again.
SELECT pg_advisory_xact_lock(hashtextextended($1, 0))
