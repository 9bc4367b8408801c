-- Takes the lock that tells other runs that the run $1 is alive. The server releases it when the transaction ends
-- in any way.
-- Locks: the run's own advisory lock, until the transaction ends. May be run again.
SELECT pg_advisory_xact_lock(hashtextextended($1, 0))
