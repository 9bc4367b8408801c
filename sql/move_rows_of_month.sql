-- Moves the target's rows dated from $1 (inclusive) to $2 (exclusive) from the default partition into the staging
-- table, and deletes the staged rows with equal keys. It is one statement, so that both parts see the same rows. A row
-- that another session adds meanwhile is not moved, and makes ATTACH fail. Returns the number of deleted staged rows,
-- and the number of moved rows that have the file name $3.
-- Locks: the moved rows, until the transaction ends. May be run again.
WITH moved AS (
    DELETE FROM {{ table }} WHERE {{ time_column }} >= $1 AND {{ time_column }} < $2 RETURNING {{ all_columns }}
), matched AS (
    DELETE FROM {{ staging }} AS staged USING (SELECT DISTINCT {{ key_column }} FROM moved) AS keys
    WHERE staged.{{ key_column }} = keys.{{ key_column }}
    RETURNING 1
), inserted AS (
    INSERT INTO {{ staging }} ({{ all_columns }}) SELECT {{ all_columns }} FROM moved RETURNING {{ filename_column }}
)
SELECT
    (SELECT count(*) FROM matched),
    (SELECT count(*) FROM inserted WHERE {{ filename_column }} = $3)
