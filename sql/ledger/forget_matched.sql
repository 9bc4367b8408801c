-- Clears rows_in_period for the files of the table $1, except the file $2, that had matched rows. The target may
-- have held those rows under the name of the file $2, whose rows have been replaced. The next load of each of
-- these files compares it again.
-- Locks: the rows of these runs, until the transaction ends. May be run again.
UPDATE taxi_etl.runs
SET rows_in_period = NULL
WHERE target_table = $1 AND filename <> $2 AND status = 'succeeded' AND rows_matched > 0 AND rows_in_period IS NOT NULL
