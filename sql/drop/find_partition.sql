-- Finds the partition of the table $1 (a quoted name), partitioned by ranges of the column $2, whose bounds are equal to
-- the period from $3 (inclusive) to $4 (exclusive): its oid, its schema and name, and whether the table has a default
-- partition.
-- Locks: the partitions against schema changes (ACCESS SHARE), until the transaction ends. May be run again.
SELECT oid, schema_name, name, has_default
FROM (
    SELECT
        partition.oid, nspname::text AS schema_name, partition.relname::text AS name, partdefid <> 0 AS has_default,
        regexp_match(
            pg_get_expr(partition.relpartbound, partition.oid), '^FOR VALUES FROM [(]''(.*)''[)] TO [(]''(.*)''[)]$'
        ) AS ends
    FROM pg_partitioned_table
    JOIN pg_attribute ON attrelid = partrelid AND attnum = partattrs[0]
    JOIN pg_inherits ON inhparent = partrelid
    JOIN pg_class AS partition ON partition.oid = inhrelid
    JOIN pg_namespace ON pg_namespace.oid = partition.relnamespace
    WHERE partrelid = to_regclass($1) AND partstrat = 'r' AND partnatts = 1 AND lower(attname) = $2
        AND atttypid = 'timestamp'::regtype AND partition.relkind = 'r'
) AS partitions
WHERE ends IS NOT NULL AND ends[1]::timestamp = $3 AND ends[2]::timestamp = $4
