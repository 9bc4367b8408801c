-- Deletes the staged rows whose key the target holds: anywhere if $1, else from $2 to before $3 or, if $4, in rows without a time.
-- Locks: the staging table, which nobody else knows. May be run again.
DELETE FROM {{ staging }} AS staged USING {{ table }} AS target
WHERE target.{{ key_column }} = staged.{{ key_column }}
    AND (
        $1
        OR target.{{ time_column }} >= $2 AND target.{{ time_column }} < $3
        OR $4 AND target.{{ time_column }} IS NULL
    )
