-- Inserts the staged rows whose key the target does not hold, and updates nothing. Staged rows that repeat a key
-- are all inserted. A key includes the row's time, so a match has the same time. The parameters bound the search in
-- the target: any row if $1, else rows dated from $2 (inclusive) to $3 (exclusive), at one of the times $4, from $5
-- to $6 (both inclusive) and, if $7, rows without a time. The planner drops the conditions whose parameters are
-- NULL, and skips the partitions that cannot hold a match.
-- Locks: the target against schema changes (ROW EXCLUSIVE). May be run again: it then inserts nothing.
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
