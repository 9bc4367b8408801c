-- Lists the rows that the run $1 rejected, in the order of the file.
-- Locks nothing. May be run again.
SELECT line, column_name, reason, raw FROM taxi_etl.rejects WHERE run_id = $1 ORDER BY line
