-- Counts the rows of a lookup table.
-- Locks: nothing that a load waits for. May be run again.
SELECT count(*) FROM {{ table }}
