-- Which of the ledger's tables exist. Reads the catalog itself: to_regclass may miss a table that another session
-- created while this session waited for its lock.
-- Locks nothing. May be run again.
SELECT coalesce(bool_or(relname = 'runs'), false), coalesce(bool_or(relname = 'ledger_version'), false)
FROM pg_class
WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'taxi_etl') AND relkind = 'r'
