-- The server process id of this session, as in pg_stat_activity and pg_locks. Locks nothing. May be run again.
SELECT pg_backend_pid()
