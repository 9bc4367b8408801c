-- Whether the table $1 (a quoted name) has an index of all its rows that begins with the column $2.
-- Locks nothing. May be run again.
SELECT EXISTS (
    SELECT FROM pg_index
    JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
    WHERE indrelid = to_regclass($1) AND lower(attname) = $2 AND indisvalid AND indpred IS NULL
)
