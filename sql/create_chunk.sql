-- Creates the table that takes rows of a file which are to be merged. Not logged, and dropped in the same transaction: it is
-- needed for no longer.
-- Locks: nothing that exists. Not to be run again: its name is taken then.
CREATE UNLOGGED TABLE {{ chunk }} (LIKE {{ staging_table }})
