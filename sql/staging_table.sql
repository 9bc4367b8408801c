-- The staging table: the target's columns, and the shape of the chunks that take a file's rows first. It stays empty.
-- Locks: nothing that exists. May be run again.
CREATE UNLOGGED TABLE IF NOT EXISTS {{ staging_table }} (LIKE {{ table }})
