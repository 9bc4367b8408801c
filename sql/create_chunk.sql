-- Creates the table that takes the next rows of a file. Not logged: it is needed for as long as the load lasts, and what a
-- crash leaves of it the next load drops.
-- Locks: nothing that exists. Not to be run again: its name is taken then.
CREATE UNLOGGED TABLE {{ chunk }} (LIKE {{ staging_table }}) WITH (autovacuum_enabled = false)
