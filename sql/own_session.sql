-- Settings of taxi's own sessions, in addition to connection.sql; pg_dump does the same. Names without a schema are
-- looked up in pg_catalog only: a function or an operator that another role creates is never called with this
-- role's rights. Timeouts of the database or the role would end a long load, and every retry of it; those that the
-- connection asks for (PGOPTIONS) stay.
-- Locks nothing. May be run again.
SET search_path = pg_catalog, pg_temp;
SELECT set_config(name, '0', false)
FROM pg_settings
WHERE setting <> '0' AND source <> 'client' AND name IN (
    'statement_timeout', 'lock_timeout', 'transaction_timeout', 'idle_session_timeout', 'idle_in_transaction_session_timeout'
);
