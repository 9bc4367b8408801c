-- Lists the sessions of the database $1, other than this one: of taxi only if $2.
-- Locks nothing. May be run again.
SELECT pid, usename::text, application_name
FROM pg_stat_activity
WHERE datname = $1 AND pid <> pg_backend_pid() AND backend_type = 'client backend'
    AND (NOT $2 OR application_name = 'taxi-etl')
ORDER BY pid
