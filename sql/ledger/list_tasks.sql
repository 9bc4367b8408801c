-- Lists the task runs of the run $1, in the order of their start times.
-- Locks nothing. May be run again.
SELECT * FROM taxi_etl.task_runs WHERE run_id = $1 ORDER BY started_at, task_run_id
