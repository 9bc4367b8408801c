-- What the role may do with the ledger; NULL of what is not there. Asks the catalog for the tables, since to look a name up
-- in a schema takes a right on it. Locks nothing.
WITH schema AS (SELECT oid FROM pg_namespace WHERE nspname = 'taxi_etl'),
ledger AS (SELECT relname, oid FROM pg_class WHERE relnamespace = (SELECT oid FROM schema) AND relkind = 'r')
SELECT
    EXISTS (SELECT FROM schema) AS schema_exists,
    has_database_privilege(current_database(), 'CREATE') AS may_create_schema,
    (SELECT has_schema_privilege(oid, 'USAGE') FROM schema) AS may_use_schema,
    (SELECT has_schema_privilege(oid, 'CREATE') FROM schema) AS may_create_staging,
    (SELECT has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT') AND has_table_privilege(oid, 'UPDATE')
     FROM ledger WHERE relname = 'runs') AS may_write_runs,
    (SELECT has_table_privilege(oid, 'SELECT') FROM ledger WHERE relname = 'ledger_version') AS may_read_version,
    (SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = (SELECT oid FROM ledger WHERE relname = 'runs'))
        AS may_upgrade,
    (SELECT has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT')
     FROM ledger WHERE relname = 'rejects') AS may_write_rejects
