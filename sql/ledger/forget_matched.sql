-- Sets rows_in_period to NULL for each file of the table $1 that had matched rows, except for the file $2. The target
-- may have held those rows under the name of the file $2, whose rows have been replaced. The next load of each of
-- these files compares it again.
-- Locks: the runs of these files, until the transaction ends. May be run again.
UPDATE taxi_etl.runs
SET rows_in_period = NULL
WHERE target_table = $1 AND filename <> $2 AND status = 'succeeded' AND rows_matched > 0 AND rows_in_period IS NOT NULL
