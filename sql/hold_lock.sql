-- Takes the advisory lock named $1 for the session, which the server lets go when that ends, however it does.
-- Returns whether it was free. May be run again: it is counted.
SELECT pg_try_advisory_lock(hashtextextended($1, 0))
