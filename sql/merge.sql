-- Inserts the staged rows whose key the target does not hold, and updates nothing. Rows that repeat a key among themselves are
-- all inserted. A key is made of its row's time, among others, so a match has the same time: the target is read anywhere if
-- $1, else from $2 to before $3, at the times $4, from $5 to $6 and, if $7, where there is no time. What is NULL drops out
-- when the statement is planned, and with it the partitions that cannot hold a match.
-- Locks: the target against changes of its shape (ROW EXCLUSIVE). May be run again, and then finds every row matched.
MERGE INTO {{ table }} AS target
USING {{ staging }} AS staged
ON target.{{ key_column }} = staged.{{ key_column }}
    AND (
        $1
        OR target.{{ time_column }} >= $2 AND target.{{ time_column }} < $3
        OR target.{{ time_column }} = ANY ($4)
        OR target.{{ time_column }} >= $5 AND target.{{ time_column }} <= $6
        OR $7 AND target.{{ time_column }} IS NULL
    )
WHEN NOT MATCHED THEN
    INSERT ({{ columns }}) VALUES ({{ staged_columns }})
