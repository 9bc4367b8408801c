-- Version 10: the run history knows which columns of a file the target did not have, and what the load did with them.
-- Locks: the run history, until the transaction ends. The lock is taken first, so that the upgrade waits for a load
-- of an older version before it changes anything. Must not be run again: the recorded version prevents it.
LOCK TABLE taxi_etl.runs IN ACCESS EXCLUSIVE MODE;

ALTER TABLE taxi_etl.runs ADD COLUMN new_columns jsonb;
COMMENT ON COLUMN taxi_etl.runs.new_columns IS
    'columns of the file that the target did not have: a list of {column, action, type, reason}; the action is added or left_out';

UPDATE taxi_etl.ledger_version SET version = 10;
