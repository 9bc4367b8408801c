-- Adds a column for values of a file that the table has no column for. The values are text.
-- Locks: the table against all access (ACCESS EXCLUSIVE), for an instant. May be run again: it then does nothing.
ALTER TABLE {{ table }} ADD COLUMN IF NOT EXISTS {{ column }} text
