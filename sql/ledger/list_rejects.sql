-- The rows that the run $1 left out, in the order of the file.
-- Locks nothing.
SELECT line, column_name, reason, raw FROM taxi_etl.rejects WHERE run_id = $1 ORDER BY line
