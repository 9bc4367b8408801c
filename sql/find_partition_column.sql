-- For a table $1 (a quoted name) that is partitioned by ranges of one column, returns that column (quoted), the
-- table's schema and name, and whether the schema for its partitions exists. Returns no row for any other table.
-- Locks nothing. May be run again.
SELECT
    quote_ident(attname),
    nspname::text,
    relname::text,
    EXISTS (SELECT FROM pg_namespace AS other WHERE other.nspname = pg_namespace.nspname || '_partitions')
FROM pg_partitioned_table
JOIN pg_class ON pg_class.oid = partrelid
JOIN pg_namespace ON pg_namespace.oid = relnamespace
JOIN pg_attribute ON attrelid = partrelid AND attnum = partattrs[0]
WHERE partrelid = to_regclass($1) AND partstrat = 'r' AND partnatts = 1
