-- The last successful load of the file $2 into the table $1, unless its rows were dropped since: what the source announced about the file, and how
-- many of its rows the target then held in its own period.
-- Locks nothing. May be run again.
SELECT run_id, source_address, source_etag, source_last_modified, source_length_bytes, rows_in_period
FROM taxi_etl.runs
WHERE target_table = $1 AND filename = $2 AND status = 'succeeded' AND dropped_at IS NULL
ORDER BY sequence DESC
LIMIT 1
