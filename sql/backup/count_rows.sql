-- Counts the rows of a table.
-- Locks nothing. May be run again.
SELECT count(*) FROM {{ table }}
