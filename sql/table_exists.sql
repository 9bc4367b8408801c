-- Whether the table $1 (a quoted name) exists. Locks nothing.
SELECT to_regclass($1) IS NOT NULL
