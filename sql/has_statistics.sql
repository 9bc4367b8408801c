-- Whether the planner knows how the column $2 of the table $1 lies, from when the table had half of its present size or more.
-- Locks nothing. May be run again.
SELECT EXISTS (
    SELECT FROM pg_class
    JOIN pg_namespace ON pg_namespace.oid = pg_class.relnamespace
    JOIN pg_stats ON schemaname = nspname AND tablename = relname AND attname = $2
    WHERE pg_class.oid = to_regclass($1)
        AND 2.0 * relpages * current_setting('block_size')::bigint >= pg_relation_size(pg_class.oid)
)
