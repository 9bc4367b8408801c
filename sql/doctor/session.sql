-- Who the session is to the server, and what the server is. Locks nothing.
SELECT
    current_user::text AS user_name,
    current_database()::text AS database_name,
    current_setting('server_version') AS version,
    pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean AS read_only,
    extract(epoch FROM clock_timestamp())::float8 AS clock,
    (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()) AS encrypted,
    (SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()) AS protocol,
    -- no row for a role that may not know
    (SELECT setting FROM pg_settings WHERE name = 'data_directory') AS data_directory
