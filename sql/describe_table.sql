-- The columns of the table $1 (a quoted name), in table order; none where there is no such table. Locks nothing.
SELECT attname::text, atttypid, atttypmod, format_type(atttypid, atttypmod)
FROM pg_attribute
WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
ORDER BY attnum
