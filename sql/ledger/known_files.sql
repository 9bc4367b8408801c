-- For the last successful load of each of the files $2 into the table $1: how many rows the file had, how many of
-- them were staged, and how many the target then held in the file's own period; and whether
-- the rows were dropped since.
-- Locks nothing. May be run again.
SELECT DISTINCT ON (filename) filename, rows_read, rows_staged, rows_in_period, dropped_at IS NOT NULL
FROM taxi_etl.runs
WHERE target_table = $1 AND filename = ANY ($2) AND status = 'succeeded'
ORDER BY filename, sequence DESC
