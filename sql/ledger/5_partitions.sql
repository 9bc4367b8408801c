-- Version 5: loads no longer need the times of rows outside of their month.
-- Locks: the history, until the transaction ends; first and at once, so that a load of an older version is waited for and
-- not met halfway. Not to be run again: the version says that it was.
LOCK TABLE taxi_etl.runs IN ACCESS EXCLUSIVE MODE;

ALTER TABLE taxi_etl.runs DROP COLUMN stray_times;

UPDATE taxi_etl.ledger_version SET version = 5;
