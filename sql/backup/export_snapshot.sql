-- Exports the snapshot of the transaction, and returns its name and the time.
-- Locks nothing. May be run again.
SELECT pg_export_snapshot(), clock_timestamp()
