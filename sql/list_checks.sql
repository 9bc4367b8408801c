-- Returns the statement that adds the CHECK constraints of the target $1 to the staging table $2 (quoted names), or NULL if
-- there are none. A constraint that is NOT VALID in the target applies to new rows, and so to all staged rows.
-- Locks nothing. May be run again.
SELECT
    format('ALTER TABLE %s ', $2::text)
        || string_agg(
            format('ADD CONSTRAINT %I %s', conname, regexp_replace(pg_get_constraintdef(oid), ' NOT VALID$', '')), ', '
            ORDER BY conname
        )
FROM pg_constraint
WHERE conrelid = to_regclass($1) AND contype = 'c' AND NOT connoinherit
