-- Returns the quoted names of the columns of the table $1 (a quoted name) as a list, without generated columns.
-- Locks nothing. May be run again.
SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum)
FROM pg_attribute
WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
