-- Inserts the staged rows whose key the target does not hold. It updates nothing; rows that share a key within the
-- file are all inserted, since each is matched with the target as it was. Reads all of the target: for tables with
-- rows that have no time, whose matches may have any.
-- Locks: the target against changes of its shape (ROW EXCLUSIVE). May be run again: then every row is matched.
MERGE INTO {{ table }} AS target
USING {{ staging_table }} AS staged
ON target.{{ key_column }} = staged.{{ key_column }}
WHEN NOT MATCHED THEN
    INSERT ({{ columns }}) VALUES ({{ staged_columns }})
