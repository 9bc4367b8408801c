-- The number of rows of one table, without those of tables that inherit from it.
-- Locks: the table, as any query does. May be run again.
SELECT count(*) FROM ONLY {{ table }}
