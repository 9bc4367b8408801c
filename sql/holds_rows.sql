-- Whether the target holds rows from $1 to before $2 or, if $3, rows without a time. The planner reads the partitions that may.
-- Locks nothing. May be run again.
SELECT EXISTS (
    SELECT FROM {{ table }}
    WHERE {{ time_column }} >= $1 AND {{ time_column }} < $2 OR $3 AND {{ time_column }} IS NULL
)
