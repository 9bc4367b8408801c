-- Moves the target's rows from $1 to before $2 into the staging table: they are in the default partition, which ATTACH wants
-- without them.
-- Locks: these rows, until the transaction ends. May be run again.
WITH moved AS (
    DELETE FROM {{ table }} WHERE {{ time_column }} >= $1 AND {{ time_column }} < $2 RETURNING {{ columns }}
)
INSERT INTO {{ staging }} ({{ columns }}) SELECT {{ columns }} FROM moved
