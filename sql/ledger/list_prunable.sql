-- Lists the runs that began before $1 and may be deleted, the oldest first. These stay:
-- * the latest success of each file and table, which says whether the file is loaded
-- * runs in progress, and the tasks of flow runs in progress
-- * the latest $2 runs
-- Locks nothing. May be run again.
WITH latest AS (
    SELECT DISTINCT ON (target_table, filename) run_id
    FROM taxi_etl.runs
    WHERE status = 'succeeded' AND filename IS NOT NULL
    ORDER BY target_table, filename, sequence DESC
), newest AS (
    SELECT run_id FROM taxi_etl.runs ORDER BY sequence DESC LIMIT $2
), in_progress AS (
    SELECT run_id FROM taxi_etl.runs WHERE status = 'running'
)
SELECT
    run_id,
    CASE WHEN dropped_at IS NULL THEN status ELSE 'dropped' END,
    coalesce(filename, pipeline),
    started_at,
    (SELECT count(*) FROM taxi_etl.task_runs WHERE task_runs.run_id = runs.run_id),
    (SELECT count(*) FROM taxi_etl.rejects WHERE rejects.run_id = runs.run_id)
FROM taxi_etl.runs
WHERE started_at < $1 AND status <> 'running'
    AND run_id NOT IN (SELECT run_id FROM latest)
    AND run_id NOT IN (SELECT run_id FROM newest)
    AND (part_of IS NULL OR part_of NOT IN (SELECT run_id FROM in_progress))
ORDER BY sequence
