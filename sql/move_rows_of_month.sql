-- Moves the target's rows from $1 to before $2 from the default partition into the staging table, and deletes the staged rows with
-- equal keys, in one statement: a row that another session adds meanwhile is in neither, and makes ATTACH fail. Returns how many
-- staged rows were deleted, and how many of the moved rows are under the name $3.
-- Locks: the moved rows, until the transaction ends. May be run again.
WITH moved AS (
    DELETE FROM {{ table }} WHERE {{ time_column }} >= $1 AND {{ time_column }} < $2 RETURNING {{ columns }}
), matched AS (
    DELETE FROM {{ staging }} AS staged USING (SELECT DISTINCT {{ key_column }} FROM moved) AS keys
    WHERE staged.{{ key_column }} = keys.{{ key_column }}
    RETURNING 1
), inserted AS (
    INSERT INTO {{ staging }} ({{ columns }}) SELECT {{ columns }} FROM moved RETURNING {{ filename_column }}
)
SELECT
    (SELECT count(*) FROM matched),
    (SELECT count(*) FROM inserted WHERE {{ filename_column }} = $3)
