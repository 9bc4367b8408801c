-- Lets the target's index over its times know the rows that have been added, also of transactions under way, so that looks
-- at other times can pass over them; autovacuum would, some day. An index that is not this role's is left alone.
-- Locks: the target against other such maintenance. May be run again.
SELECT brin_summarize_new_values(pg_class.oid)
FROM pg_index
JOIN pg_class ON pg_class.oid = pg_index.indexrelid
JOIN pg_am ON pg_am.oid = pg_class.relam
WHERE pg_index.indrelid = to_regclass($1) AND pg_am.amname = 'brin' AND pg_has_role(pg_class.relowner, 'USAGE')
