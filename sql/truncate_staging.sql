-- Empties the staging table.
-- Locks: the staging table, until the transaction ends. May be run again.
TRUNCATE TABLE {{ staging_table }}
