-- As merge_all.sql, for the staged rows of the times $1, where every row has a time: a key is made of it, so a match
-- has the same, and the rest of the target is not read.
MERGE INTO {{ table }} AS target
USING (
    SELECT * FROM {{ staging_table }} WHERE {{ time_column }} = ANY ($1)
) AS staged
ON target.{{ key_column }} = staged.{{ key_column }} AND target.{{ time_column }} = ANY ($1)
WHEN NOT MATCHED THEN
    INSERT ({{ columns }}) VALUES ({{ staged_columns }})
