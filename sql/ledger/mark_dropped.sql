-- Records that the rows of the file $2 were dropped from the table $1: the file no longer counts as loaded.
-- Locks: the runs of the file, until the transaction ends. May be run again.
UPDATE taxi_etl.runs
SET dropped_at = now()
WHERE target_table = $1 AND filename = $2 AND status = 'succeeded' AND dropped_at IS NULL
