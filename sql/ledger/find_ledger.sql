-- Which of the ledger's tables there are. Asks the catalog itself: to_regclass may not know yet what another session has
-- created while this one waited for its lock.
-- Locks nothing.
SELECT coalesce(bool_or(relname = 'runs'), false), coalesce(bool_or(relname = 'ledger_version'), false)
FROM pg_class
WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'taxi_etl') AND relkind = 'r'
