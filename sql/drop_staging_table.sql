-- Locks: the staging table, which nobody else knows. Not to be run again.
DROP TABLE {{ staging }}
