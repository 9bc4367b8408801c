-- Version 1 of the run history: one row per run.
-- Locks: nothing that exists. May be run again: existing objects are not changed.
CREATE SCHEMA IF NOT EXISTS taxi_etl;

CREATE TABLE IF NOT EXISTS taxi_etl.runs (
    run_id               uuid PRIMARY KEY,
    pipeline             text NOT NULL,
    inputs               jsonb NOT NULL,
    forced               boolean NOT NULL,
    status               text NOT NULL CHECK (status IN ('succeeded', 'failed')),
    filename             text,
    target_table         text,
    source_address       text,
    source_etag          text,
    source_last_modified text,
    source_length_bytes  bigint,
    downloaded_bytes     bigint,
    sha256               text,
    rows_read            bigint,
    rows_staged          bigint,
    rows_inserted        bigint,
    rows_matched         bigint,
    rows_rejected        bigint,
    duplicate_keys       bigint,
    phases               jsonb NOT NULL,
    error_kind           text,
    error                text,
    started_at           timestamptz NOT NULL,
    finished_at          timestamptz NOT NULL,
    tool_version         text NOT NULL
);

COMMENT ON TABLE taxi_etl.runs IS 'one row a run of taxi; a load''s row commits in the transaction of its rows';
COMMENT ON COLUMN taxi_etl.runs.phases IS 'seconds by phase';
COMMENT ON COLUMN taxi_etl.runs.duplicate_keys IS 'staged rows less distinct row keys among them';
