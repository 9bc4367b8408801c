-- Whether an index of the whole table $1 (a quoted name) begins with its column $2. Locks nothing.
SELECT EXISTS (
    SELECT FROM pg_index
    JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
    WHERE indrelid = to_regclass($1) AND lower(attname) = $2 AND indisvalid AND indpred IS NULL
)
