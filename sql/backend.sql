-- The server process of this session and when it started, which identify the process even across servers. The start is
-- empty for a role that may not see it, for example after SET ROLE. The names are qualified: the session's search_path is
-- still that of its database and role.
-- Locks nothing. May be run again.
SELECT
    pg_catalog.pg_backend_pid(),
    coalesce((SELECT backend_start::pg_catalog.text FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid())), '')
