-- Finds the session that holds the advisory lock named $1, and the run of that session if the run has begun.
-- Locks nothing. May be run again.
SELECT holder.pid, runs.run_id, runs.host, runs.pid, runs.started_at
FROM pg_locks AS holder
LEFT JOIN taxi_etl.runs ON runs.server_pid = holder.pid AND runs.status = 'running'
WHERE holder.locktype = 'advisory' AND holder.granted AND holder.objsubid = 1
    AND holder.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND (holder.classid::bigint << 32) | holder.objid::bigint = hashtextextended($1, 0)
ORDER BY runs.started_at DESC NULLS LAST
LIMIT 1
