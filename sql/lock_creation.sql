-- Serializes runs that create tables at the same time, because two CREATE ... IF NOT EXISTS at the same time can fail.
-- Locks: an advisory lock of its own, until the transaction ends. May be run again.
SELECT pg_advisory_xact_lock(hashtextextended('taxi_etl: create tables', 0))
