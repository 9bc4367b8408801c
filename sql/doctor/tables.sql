-- The role's rights on the target $1 (a quoted name) in the schema $2; NULL for a table that does not exist.
-- Locks nothing. May be run again.
SELECT
    coalesce((SELECT has_schema_privilege(oid, 'CREATE') FROM pg_namespace WHERE nspname = $2), false) AS may_create_tables,
    coalesce(
        (SELECT has_schema_privilege(oid, 'CREATE') FROM pg_namespace WHERE nspname = $2 || '_partitions'),
        has_database_privilege(current_database(), 'CREATE')
    ) AS may_create_partitions,
    has_table_privilege(to_regclass($1)::oid, 'SELECT') AND has_table_privilege(to_regclass($1)::oid, 'INSERT') AS may_load,
    has_table_privilege(to_regclass($1)::oid, 'DELETE') AS may_replace
