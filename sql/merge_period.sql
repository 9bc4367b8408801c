-- As merge_times.sql, for all staged rows of the file's own period, $1 to before $2.
MERGE INTO {{ table }} AS target
USING (
    SELECT * FROM {{ staging_table }} WHERE {{ time_column }} >= $1 AND {{ time_column }} < $2
) AS staged
ON target.{{ key_column }} = staged.{{ key_column }}
    AND target.{{ time_column }} >= $1 AND target.{{ time_column }} < $2
WHEN NOT MATCHED THEN
    INSERT ({{ columns }}) VALUES ({{ staged_columns }})
