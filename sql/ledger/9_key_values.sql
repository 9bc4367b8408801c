-- Version 9: the keys and values that flows keep from run to run.
-- Locks: nothing that exists. Must not be run again: the recorded version prevents it.
CREATE TABLE taxi_etl.key_values (
    namespace text NOT NULL,
    key text NOT NULL,
    kind text NOT NULL,
    value jsonb NOT NULL,
    description text,
    expires_at timestamptz,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (namespace, key)
);
COMMENT ON TABLE taxi_etl.key_values IS
    'the keys and values of flows: written by kv.Set, read by kv.Get and the function kv()';
COMMENT ON COLUMN taxi_etl.key_values.kind IS
    'the type of the value: STRING, NUMBER, BOOLEAN, DATETIME, DATE, DURATION or JSON';
COMMENT ON COLUMN taxi_etl.key_values.expires_at IS
    'the time after which flows no longer see the key; NULL if it does not expire';

UPDATE taxi_etl.ledger_version SET version = 9;
