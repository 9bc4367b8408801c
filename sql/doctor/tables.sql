-- What the role may do with the target $1 and the staging table $2 (quoted names) in the schema $3; NULL of what is not there.
-- Locks nothing.
SELECT
    coalesce((SELECT has_schema_privilege(oid, 'CREATE') FROM pg_namespace WHERE nspname = $3), false) AS may_create_tables,
    has_table_privilege(to_regclass($1)::oid, 'SELECT') AND has_table_privilege(to_regclass($1)::oid, 'INSERT') AS may_load,
    has_table_privilege(to_regclass($1)::oid, 'DELETE') AS may_replace,
    has_table_privilege(to_regclass($2)::oid, 'SELECT') AS may_read_staging
