-- The number of this session, as others see it in pg_stat_activity and pg_locks. Locks nothing.
SELECT pg_backend_pid()
