-- Lists the statements that create the indexes of the target $1 on the staging table $2 (quoted names). Indexes of
-- constraints, such as primary keys, are left out, because ATTACH creates them.
-- Locks nothing. May be run again.
WITH indexes AS (
    SELECT
        pg_get_indexdef(indexrelid) AS definition,
        format('INDEX %I ON ONLY %I.%I ', index.relname, nspname, target.relname) AS head
    FROM pg_index
    JOIN pg_class AS index ON index.oid = indexrelid
    JOIN pg_class AS target ON target.oid = indrelid
    JOIN pg_namespace ON pg_namespace.oid = target.relnamespace
    WHERE indrelid = to_regclass($1) AND indisvalid AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
)
SELECT replace(definition, head, format('INDEX ON %s ', $2::text)) FROM indexes WHERE strpos(definition, head) > 0
