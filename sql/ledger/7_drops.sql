-- Version 7: the run history knows which loaded files were dropped from the target later.
-- Locks: the run history, until the transaction ends. The lock is taken first, so that the upgrade waits for a load
-- of an older version before it changes anything. Must not be run again: the recorded version prevents it.
LOCK TABLE taxi_etl.runs IN ACCESS EXCLUSIVE MODE;

ALTER TABLE taxi_etl.runs ADD COLUMN dropped_at timestamptz;
COMMENT ON COLUMN taxi_etl.runs.dropped_at IS
    'when taxi drop removed the rows of the file from the target; NULL if it has not';

UPDATE taxi_etl.ledger_version SET version = 7;
