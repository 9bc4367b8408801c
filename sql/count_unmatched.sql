-- Counts the staged rows whose key the target does not hold. The parameters bound the search as in merge.sql.
-- Locks nothing. May be run again.
SELECT count(*)
FROM {{ staging }} AS staged
WHERE NOT EXISTS (
    SELECT FROM {{ table }} AS target
    WHERE target.{{ key_column }} = staged.{{ key_column }}
        AND (
            $1
            OR target.{{ time_column }} >= $2 AND target.{{ time_column }} < $3
            OR target.{{ time_column }} = ANY ($4)
            OR target.{{ time_column }} >= $5 AND target.{{ time_column }} <= $6
            OR $7 AND target.{{ time_column }} IS NULL
        )
)
