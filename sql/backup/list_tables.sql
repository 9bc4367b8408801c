-- Lists the tables of the database, each with whether it has a column named filename. Partitions count as part of their
-- table. Leaves out tables of the system and of extensions.
-- Locks nothing. May be run again.
SELECT
    nspname::text, relname::text,
    EXISTS (SELECT FROM pg_attribute WHERE attrelid = pg_class.oid AND attname = 'filename' AND NOT attisdropped)
FROM pg_class
JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind IN ('r', 'p') AND NOT relispartition AND relpersistence <> 't'
    AND nspname !~ '^pg_' AND nspname <> 'information_schema'
    AND NOT EXISTS (
        SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e'
    )
ORDER BY 1, 2
