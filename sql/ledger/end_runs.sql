-- Terminates the sessions of the loads that are recorded as running. Each load then records that it failed, with its
-- control connection.
-- Locks nothing. May be run again.
SELECT pg_terminate_backend(activity.pid)
FROM taxi_etl.runs
JOIN pg_stat_activity AS activity ON activity.pid = runs.server_pid
WHERE runs.status = 'running' AND activity.datname = current_database()
