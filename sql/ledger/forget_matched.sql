-- Makes the ledger forget what the target holds of the files in the table $1, but for $2, some of whose rows were found in it: they
-- may have stood under the name of the file $2, whose rows have been replaced. These files are compared again by their
-- next load.
-- Locks: these runs' rows, until the transaction ends. May be run again.
UPDATE taxi_etl.runs
SET rows_in_period = NULL
WHERE target_table = $1 AND filename <> $2 AND status = 'succeeded' AND rows_matched > 0 AND rows_in_period IS NOT NULL
