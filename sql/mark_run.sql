-- Tells other runs that the run $1 is alive. The server forgets it with the transaction, however
-- that ends.
-- Locks: an advisory lock of the run's own, until the transaction ends. May be run again.
SELECT pg_advisory_xact_lock(hashtextextended($1, 0))
