-- Lists the columns of the table $1 (a quoted name) in table order, without generated columns: the name, the type and its
-- modifier (of a domain, those of the type that it is based on), the type as text, whether the column is NOT NULL, and
-- whether it has a default. Returns no rows if the table does not exist. Also returns what kind of relation it is.
-- Locks nothing. May be run again.
WITH RECURSIVE bases AS (
    SELECT
        attrelid, attnum, atttypid AS type, atttypmod AS modifier,
        attnotnull AS not_null, atthasdef OR attidentity <> '' AS has_default
    FROM pg_attribute
    WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
    UNION ALL
    SELECT attrelid, attnum, typbasetype, typtypmod, not_null OR typnotnull, has_default OR typdefault IS NOT NULL
    FROM bases
    JOIN pg_type ON pg_type.oid = bases.type
    WHERE typtype = 'd'
)
SELECT
    attname::text, bases.type, bases.modifier, format_type(atttypid, atttypmod), bases.not_null, bases.has_default,
    CASE
        WHEN relpersistence = 't' THEN 'a temporary table'
        ELSE CASE relkind
            WHEN 'r' THEN 'a table' WHEN 'p' THEN 'a partitioned table' WHEN 'v' THEN 'a view'
            WHEN 'm' THEN 'a materialized view' WHEN 'f' THEN 'a foreign table' ELSE 'not a table'
        END
    END AS kind,
    relkind IN ('r', 'p') AND relpersistence <> 't' AS is_table
FROM bases
JOIN pg_type ON pg_type.oid = bases.type AND typtype <> 'd'
JOIN pg_attribute USING (attrelid, attnum)
JOIN pg_class ON pg_class.oid = attrelid
ORDER BY attnum
