-- The column by whose ranges the table $1 (a quoted name) is partitioned, quoted; the table's schema and name; and whether the
-- schema for its partitions exists. No row if the table is not partitioned by ranges of one column.
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
