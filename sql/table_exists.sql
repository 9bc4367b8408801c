-- Whether the table $1 (a quoted name) exists. Reads the catalog itself: to_regclass alone may miss a table that
-- another session created while this session waited for its lock.
-- Locks nothing. May be run again.
SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass($1))
