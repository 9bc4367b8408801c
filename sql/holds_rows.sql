-- Returns whether the target holds rows dated from $1 (inclusive) to $2 (exclusive) or, if $3 is true, rows without a
-- time. The server reads only the partitions that may hold such rows.
-- Locks nothing. May be run again.
SELECT EXISTS (
    SELECT FROM {{ table }}
    WHERE {{ time_column }} >= $1 AND {{ time_column }} < $2 OR $3 AND {{ time_column }} IS NULL
)
