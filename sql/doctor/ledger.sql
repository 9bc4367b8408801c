-- The role's rights on the ledger; NULL for objects that do not exist. Finds the tables in the catalog, because a
-- lookup by name needs a right on the schema.
-- Locks nothing. May be run again.
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
