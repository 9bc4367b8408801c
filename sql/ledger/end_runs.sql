-- Terminates all other sessions of taxi in this database, and waits up to five seconds for each to end: the locks of
-- their runs are then free.
-- Locks nothing. May be run again.
SELECT pg_terminate_backend(pid, 5000)
FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'taxi-etl' AND pid <> pg_backend_pid()
