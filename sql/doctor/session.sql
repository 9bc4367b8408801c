-- The session's user, database and encryption, and the server's version, state and clock.
-- Locks nothing. May be run again.
SELECT
    current_user::text AS user_name,
    current_database()::text AS database_name,
    current_setting('server_version') AS version,
    pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean AS read_only,
    extract(epoch FROM clock_timestamp())::float8 AS clock,
    (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()) AS encrypted,
    (SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()) AS protocol,
    -- no row if the role may not read this setting
    (SELECT setting FROM pg_settings WHERE name = 'data_directory') AS data_directory
