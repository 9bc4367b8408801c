-- Moves the target's rows dated from $1 (inclusive) to $2 (exclusive) into the staging table. They are in the
-- default partition, and ATTACH fails if it holds them.
-- Locks: the moved rows, until the transaction ends. May be run again.
WITH moved AS (
    DELETE FROM {{ table }} WHERE {{ time_column }} >= $1 AND {{ time_column }} < $2 RETURNING {{ columns }}
)
INSERT INTO {{ staging }} ({{ columns }}) SELECT {{ columns }} FROM moved
