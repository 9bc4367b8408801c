-- Version 8: the run history has what another run needs to continue a run of a flow, and to know the dates of a trigger
-- that have a successful run.
-- Locks: the run history, until the transaction ends. The lock is taken first, so that the upgrade waits for a load
-- of an older version before it changes anything. Must not be run again: the recorded version prevents it.
LOCK TABLE taxi_etl.runs IN ACCESS EXCLUSIVE MODE;

ALTER TABLE taxi_etl.runs
    ADD COLUMN replay_of     uuid,
    ADD COLUMN trigger       jsonb,
    ADD COLUMN hidden_inputs jsonb;
COMMENT ON COLUMN taxi_etl.runs.replay_of IS 'the run that this run of a flow continues';
COMMENT ON COLUMN taxi_etl.runs.trigger IS
    'the id of the trigger that the flow ran for, and the date with its time zone: {id, date}';
COMMENT ON COLUMN taxi_etl.runs.hidden_inputs IS
    'a list of the inputs whose values are not recorded in full, because they contain a secret; NULL for runs of older versions';

UPDATE taxi_etl.ledger_version SET version = 8;
