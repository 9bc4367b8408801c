-- Deletes the rows of the files $1, whatever their time, except for those in the partitions $2. Reads the whole target.
-- Locks: the deleted rows, until the transaction ends. May be run again.
DELETE FROM {{ table }} WHERE {{ filename_column }} = ANY ($1) AND tableoid <> ALL ($2::oid[])
