-- Whether the target has a row of the file $1 in the file's own period, from $2 (inclusive) to $3 (exclusive).
-- Locks nothing. May be run again.
SELECT EXISTS (
    SELECT FROM {{ table }}
    WHERE {{ filename_column }} = $1 AND {{ time_column }} >= $2 AND {{ time_column }} < $3
)
