-- Marks runs as lost that are recorded as running but whose process is gone: their advisory locks are free.
-- Locks: the advisory locks of these runs and their rows, until the transaction ends. May be run again.
WITH gone AS MATERIALIZED (
    SELECT run_id FROM taxi_etl.runs
    WHERE status = 'running' AND pg_try_advisory_xact_lock(hashtextextended(replace(run_id::text, '-', ''), 0))
)
UPDATE taxi_etl.runs AS runs
SET status = 'lost', finished_at = now()
FROM gone
WHERE runs.run_id = gone.run_id AND runs.status = 'running'
