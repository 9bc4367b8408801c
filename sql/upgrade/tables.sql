-- The tables of the database that hold rows, as quoted names: with partitions and materialized views, without
-- partitioned tables, foreign tables and the server's own tables.
-- Locks nothing. May be run again.
SELECT format('%I.%I', nspname, relname)
FROM pg_class
JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind IN ('r', 'm') AND relispopulated AND relpersistence <> 't'
    AND nspname <> 'information_schema' AND nspname !~ '^pg_'
ORDER BY 1
