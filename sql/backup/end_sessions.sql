-- Ends the sessions of the database $1, except for those of taxi, and waits up to five seconds for each to end.
-- Locks nothing. May be run again.
SELECT pg_terminate_backend(pid, 5000)
FROM pg_stat_activity
WHERE datname = $1 AND pid <> pg_backend_pid() AND backend_type = 'client backend' AND application_name <> 'taxi-etl'
