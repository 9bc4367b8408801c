-- Version 3: flow runs, with their tasks.
-- Locks: the run history, until the transaction ends. Must not be run again: the recorded version prevents it.
ALTER TABLE taxi_etl.runs
    DROP CONSTRAINT runs_status_check,
    ADD CONSTRAINT runs_status_check
        CHECK (status IN ('running', 'succeeded', 'warning', 'failed', 'cancelled', 'lost')),
    ADD COLUMN part_of      uuid,
    ADD COLUMN labels       jsonb,
    ADD COLUMN trigger_date timestamptz;

COMMENT ON COLUMN taxi_etl.runs.status IS
    'warning: a task failed that may; lost: the process ended without a word, and a later run noticed';
COMMENT ON COLUMN taxi_etl.runs.part_of IS 'the run of the flow whose task this run is';
COMMENT ON COLUMN taxi_etl.runs.labels IS 'what the run of a flow is labelled with';
COMMENT ON COLUMN taxi_etl.runs.trigger_date IS 'the date that the run of a flow is for';

CREATE TABLE taxi_etl.task_runs (
    task_run_id uuid PRIMARY KEY,
    run_id      uuid NOT NULL REFERENCES taxi_etl.runs ON DELETE CASCADE,
    parent_id   uuid,
    task_id     text NOT NULL,
    task_type   text NOT NULL,
    value       text,
    status      text NOT NULL CHECK (status IN ('running', 'succeeded', 'warning', 'failed', 'cancelled', 'skipped')),
    attempts    jsonb NOT NULL,
    outputs     jsonb,
    log         jsonb NOT NULL,
    error_kind  text,
    error       text,
    started_at  timestamptz NOT NULL,
    finished_at timestamptz
);
CREATE INDEX task_runs_by_run ON taxi_etl.task_runs (run_id, started_at);

COMMENT ON TABLE taxi_etl.task_runs IS 'one row a task that a run of a flow has run, or has skipped';
COMMENT ON COLUMN taxi_etl.task_runs.parent_id IS 'the task run that runs it, where it is not the flow itself';
COMMENT ON COLUMN taxi_etl.task_runs.value IS 'the value of the loop that it is for';
COMMENT ON COLUMN taxi_etl.task_runs.attempts IS 'a list of {started_at, finished_at, error}';
COMMENT ON COLUMN taxi_etl.task_runs.outputs IS 'what expressions found under its id, without secrets';
COMMENT ON COLUMN taxi_etl.task_runs.log IS 'what it said, in order: a list of {at, level, event, message}';

TRUNCATE taxi_etl.ledger_version;
INSERT INTO taxi_etl.ledger_version VALUES (3);
