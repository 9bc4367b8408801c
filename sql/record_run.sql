-- Writes a run into the history.
-- Locks: its own row. May be run again: a run that is recorded already keeps its row, so that a failure seen by
-- the client after the server had committed does not overwrite the success.
INSERT INTO taxi_etl.runs (
    run_id, pipeline, inputs, forced, status, filename, target_table,
    source_address, source_etag, source_last_modified, source_length_bytes, downloaded_bytes, sha256,
    rows_read, rows_staged, rows_inserted, rows_matched, rows_rejected, duplicate_keys,
    phases, error_kind, error, started_at, finished_at, tool_version
) VALUES (
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25
)
ON CONFLICT (run_id) DO NOTHING
