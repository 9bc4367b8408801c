-- Deletes the staged rows whose key the target holds: in any row if $1, else only in rows without a time.
-- Locks: the staging table, which no other session can see. May be run again.
DELETE FROM {{ staging }} AS staged USING {{ table }} AS target
WHERE target.{{ key_column }} = staged.{{ key_column }} AND ($1 OR target.{{ time_column }} IS NULL)
