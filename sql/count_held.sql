-- How many rows of the file $1 the target holds in the file's own period, $2 to before $3.
-- Locks nothing. May be run again.
SELECT count(*) FROM {{ table }}
WHERE {{ filename_column }} = $1 AND {{ time_column }} >= $2 AND {{ time_column }} < $3
