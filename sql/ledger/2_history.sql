-- Version 2: a run is recorded when it begins, with its process and its log. A run may also end as cancelled, or
-- as lost if its process was killed.
-- Locks: the run history, until the transaction ends. Must not be run again: the recorded version prevents it.
ALTER TABLE taxi_etl.runs
    DROP CONSTRAINT runs_status_check,
    ADD CONSTRAINT runs_status_check CHECK (status IN ('running', 'succeeded', 'failed', 'cancelled', 'lost')),
    ALTER COLUMN finished_at DROP NOT NULL,
    ADD COLUMN if_loaded      text,
    ADD COLUMN rows_deleted   bigint,
    ADD COLUMN rows_in_period bigint,
    ADD COLUMN stray_times    timestamp[],
    ADD COLUMN host           text,
    ADD COLUMN pid            integer,
    ADD COLUMN server_pid     integer,
    ADD COLUMN log            jsonb;

CREATE INDEX runs_by_file ON taxi_etl.runs (target_table, filename, started_at);

COMMENT ON TABLE taxi_etl.runs IS 'one row a run of taxi; that a load succeeded commits in the transaction of its rows';
COMMENT ON COLUMN taxi_etl.runs.pipeline IS 'namespace and id of the pipeline';
COMMENT ON COLUMN taxi_etl.runs.inputs IS 'the pipeline''s inputs as resolved, without secrets';
COMMENT ON COLUMN taxi_etl.runs.forced IS 'whether --force was given';
COMMENT ON COLUMN taxi_etl.runs.if_loaded IS 'merge or replace: what was to be done with a file that is loaded already';
COMMENT ON COLUMN taxi_etl.runs.status IS 'lost: the process ended without a word, and a later run noticed';
COMMENT ON COLUMN taxi_etl.runs.rows_read IS 'rows_staged + rows_rejected';
COMMENT ON COLUMN taxi_etl.runs.rows_staged IS 'rows_inserted + rows_matched';
COMMENT ON COLUMN taxi_etl.runs.rows_deleted IS 'rows of the file that were replaced';
COMMENT ON COLUMN taxi_etl.runs.rows_in_period IS
    'rows under the file''s name in its own month that the target held when the run committed';
COMMENT ON COLUMN taxi_etl.runs.stray_times IS
    'the times of rows that were not moved as rows of the file''s own month; NULL where they are too many to list';
COMMENT ON COLUMN taxi_etl.runs.host IS 'the machine of the process';
COMMENT ON COLUMN taxi_etl.runs.pid IS 'the process on that machine';
COMMENT ON COLUMN taxi_etl.runs.server_pid IS 'the session of the load''s transaction, as in pg_stat_activity';
COMMENT ON COLUMN taxi_etl.runs.log IS 'what happened, in order: a list of {at, level, event, phase, seconds, message}';

CREATE TABLE taxi_etl.ledger_version (version integer PRIMARY KEY);
COMMENT ON TABLE taxi_etl.ledger_version IS 'one row: the version of the tables in this schema';
INSERT INTO taxi_etl.ledger_version VALUES (2);
