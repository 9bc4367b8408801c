-- Tries to take the advisory lock named $1 for the session, and returns whether it was free.
-- Locks: the advisory lock, until the session ends in any way. May be run again: the server counts the locks of a
-- session.
SELECT pg_try_advisory_lock(hashtextextended($1, 0))
