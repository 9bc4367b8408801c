-- Ends those of the sessions $1 that are still there: whatever they do, and whatever they were about to do next.
-- Locks nothing. May be run again.
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = ANY ($1) AND usename = current_user
