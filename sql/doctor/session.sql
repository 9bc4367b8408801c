-- The session's user, database and encryption, the age of its server process, the timeouts that apply to it although
-- taxi has tried to turn them off, and the server's version, state and clock.
-- Locks nothing. May be run again.
SELECT
    current_user::text AS user_name,
    current_database()::text AS database_name,
    current_setting('server_version') AS version,
    pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean AS read_only,
    extract(epoch FROM clock_timestamp())::float8 AS clock,
    (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()) AS encrypted,
    (SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()) AS protocol,
    (SELECT extract(epoch FROM clock_timestamp() - backend_start)::float8
     FROM pg_stat_activity WHERE pid = pg_backend_pid()) AS age,
    (SELECT string_agg(name || ' = ' || current_setting(name), ', ' ORDER BY name) FROM pg_settings
     WHERE setting <> '0' AND name IN (
         'statement_timeout', 'lock_timeout', 'transaction_timeout', 'idle_session_timeout',
         'idle_in_transaction_session_timeout'
     )) AS timeouts,
    -- no row if the role may not read this setting
    (SELECT setting FROM pg_settings WHERE name = 'data_directory') AS data_directory
