-- The table that takes a file's rows first: the target's columns, emptied by each load.
-- Not logged: a crash may empty it, as the next load will. Locks: nothing that exists. May be run again.
CREATE UNLOGGED TABLE IF NOT EXISTS {{ staging_table }} (LIKE {{ table }})
