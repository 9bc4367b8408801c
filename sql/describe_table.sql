-- Lists the columns of the table $1 (a quoted name) in table order, without generated columns. Returns no rows if
-- the table does not exist.
-- Locks nothing. May be run again.
SELECT attname::text, atttypid, atttypmod, format_type(atttypid, atttypmod)
FROM pg_attribute
WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
ORDER BY attnum
