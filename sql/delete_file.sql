-- Deletes the rows of the file $1, wherever they lie in time: all of the target is read.
-- Locks: these rows, until the transaction ends. May be run again.
DELETE FROM {{ table }} WHERE {{ filename_column }} = $1
