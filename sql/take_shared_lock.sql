-- Waits for the advisory lock named $1, shared with other sessions, for at most the time in lock_timeout.
-- Locks: the advisory lock, shared, until the transaction ends. May be run again.
SELECT pg_advisory_xact_lock_shared(hashtextextended($1, 0))
