-- Whether the table $1 (a quoted name) exists. Reads the catalog itself: to_regclass alone may not know yet what another session
-- has created while this one waited for its lock. Locks nothing.
SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass($1))
