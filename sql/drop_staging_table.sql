-- Drops a staging table.
-- Locks: the staging table, which no other session can see. Cannot be run again.
DROP TABLE {{ staging }}
