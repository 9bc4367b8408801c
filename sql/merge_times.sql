-- Inserts the staged rows of the times $1, and those without a time, whose key the target does not hold. It updates
-- nothing; rows that share a key within the file are all inserted, since each is matched with the target as it was.
-- A key is made of the row's time: its match has the same time, or none. So the rest of the target is not read.
-- Locks: the target against changes of its shape (ROW EXCLUSIVE). May be run again: then every row is matched.
MERGE INTO {{ table }} AS target
USING (
    SELECT * FROM {{ staging_table }} WHERE {{ time_column }} = ANY ($1) OR {{ time_column }} IS NULL
) AS staged
ON target.{{ key_column }} = staged.{{ key_column }}
    AND (target.{{ time_column }} = ANY ($1) OR target.{{ time_column }} IS NULL)
WHEN NOT MATCHED THEN
    INSERT ({{ columns }}) VALUES ({{ staged_columns }})
