-- Deletes the runs $1, with their task runs and their rejected rows.
-- Locks: the deleted rows, until the transaction ends. May be run again.
DELETE FROM taxi_etl.runs WHERE run_id = ANY ($1)
