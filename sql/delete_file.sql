-- Deletes the rows of the files $1, whatever their time. Reads the whole target.
-- Locks: the deleted rows, until the transaction ends. May be run again.
DELETE FROM {{ table }} WHERE {{ filename_column }} = ANY ($1)
