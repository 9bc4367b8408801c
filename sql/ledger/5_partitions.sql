-- Version 5: loads no longer need the times of out-of-period rows.
-- Locks: the run history, until the transaction ends. The lock is taken first, so that the upgrade waits for a load
-- of an older version before it changes anything. Must not be run again: the recorded version prevents it.
LOCK TABLE taxi_etl.runs IN ACCESS EXCLUSIVE MODE;

ALTER TABLE taxi_etl.runs DROP COLUMN stray_times;

TRUNCATE taxi_etl.ledger_version;
INSERT INTO taxi_etl.ledger_version VALUES (5);
