-- Terminates the sessions in $1 that still exist, even if they are active.
-- Locks nothing. May be run again.
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = ANY ($1) AND usename = current_user
