-- Lists the sessions that prevent the load in session $2 from attaching a partition to the table $1 (a quoted name).
-- These sessions hold any lock on the default partition, or a lock on the table that conflicts with the load's lock.
-- Locks nothing. May be run again.
SELECT DISTINCT pid, usename::text, application_name
FROM pg_partitioned_table
JOIN pg_locks ON relation = partdefid
    OR relation = partrelid AND mode NOT IN ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')
JOIN pg_stat_activity USING (pid)
WHERE partrelid = to_regclass($1) AND locktype = 'relation' AND granted AND pid <> $2
    AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY pid
