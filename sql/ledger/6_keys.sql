-- Version 6: every table has a primary key. Without one, a publication of all tables makes updates of the table fail.
-- Locks: the run history, until the transaction ends. The lock is taken first, so that the upgrade waits for a load
-- of an older version before it changes anything. Must not be run again: the recorded version prevents it.
LOCK TABLE taxi_etl.runs IN ACCESS EXCLUSIVE MODE;

ALTER TABLE taxi_etl.rejects ADD COLUMN reject_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY;
COMMENT ON COLUMN taxi_etl.rejects.reject_id IS 'a number that identifies the row';

-- a ledger that this version has created has the key already
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = 'taxi_etl.ledger_version'::regclass AND contype = 'p') THEN
        ALTER TABLE taxi_etl.ledger_version ADD PRIMARY KEY (version);
    END IF;
END
$$;

-- a name without a schema now means the schema public
UPDATE taxi_etl.runs SET target_table = 'public.' || target_table WHERE target_table NOT LIKE '%.%';

UPDATE taxi_etl.ledger_version SET version = 6;
