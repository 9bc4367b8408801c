-- Version 4: the rows that a load rejected, and an order of the runs that does not depend on clocks.
-- Locks: the run history, until the transaction ends. The lock is taken first, so that the upgrade waits for a load
-- of an older version before it changes anything. Must not be run again: the recorded version prevents it.
LOCK TABLE taxi_etl.runs IN ACCESS EXCLUSIVE MODE;

CREATE TABLE taxi_etl.rejects (
    run_id      uuid NOT NULL REFERENCES taxi_etl.runs ON DELETE CASCADE,
    filename    text NOT NULL,
    line        bigint NOT NULL,
    column_name text,
    reason      text NOT NULL,
    raw         text NOT NULL
);
CREATE INDEX rejects_by_run ON taxi_etl.rejects (run_id, line);

COMMENT ON TABLE taxi_etl.rejects IS 'one row a row of a file that a load left out, as --max-rejects allowed it to';
COMMENT ON COLUMN taxi_etl.rejects.line IS 'the line of the unzipped file on which it begins, counted from 1';
COMMENT ON COLUMN taxi_etl.rejects.column_name IS 'the column that does not take its cell; NULL where it is the row as a whole';
COMMENT ON COLUMN taxi_etl.rejects.raw IS 'its text, of a long one the beginning';

ALTER TABLE taxi_etl.runs ADD COLUMN sequence bigint;
UPDATE taxi_etl.runs AS runs
SET sequence = numbered.number
FROM (SELECT run_id, row_number() OVER (ORDER BY started_at) AS number FROM taxi_etl.runs) AS numbered
WHERE numbered.run_id = runs.run_id;
ALTER TABLE taxi_etl.runs
    ALTER COLUMN sequence SET NOT NULL,
    ALTER COLUMN sequence ADD GENERATED ALWAYS AS IDENTITY;
SELECT setval(pg_get_serial_sequence('taxi_etl.runs', 'sequence'), coalesce(max(sequence), 0) + 1, false) FROM taxi_etl.runs;
COMMENT ON COLUMN taxi_etl.runs.sequence IS 'which of two runs began later, though a clock may have been set back between them';

TRUNCATE taxi_etl.ledger_version;
INSERT INTO taxi_etl.ledger_version VALUES (4);
