-- The server process of this session and when it started, which identify the process even across servers. The names
-- are qualified: the session's search_path is still that of its database and role.
-- Locks nothing. May be run again.
SELECT pid, backend_start FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid())
