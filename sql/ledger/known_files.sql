-- What the ledger says of the files $2 in the table $1: the rows that each held when it was loaded last, how many of them went on to the target, and how many the
-- target held then in the file's own period.
-- Locks nothing.
SELECT DISTINCT ON (filename) filename, rows_read, rows_staged, rows_in_period
FROM taxi_etl.runs
WHERE target_table = $1 AND filename = ANY ($2) AND status = 'succeeded'
ORDER BY filename, sequence DESC
