-- Tries to take the advisory lock named $1 for the session, and returns whether it was free.
-- Locks: the advisory lock, until the session ends, however it ends. May be run again: the lock is counted.
SELECT pg_try_advisory_lock(hashtextextended($1, 0))
