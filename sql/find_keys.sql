-- The row keys of the target from $1 to before $2, no more than $3.
-- Locks nothing. May be run again.
SELECT {{ key_column }} FROM {{ table }}
WHERE {{ time_column }} >= $1 AND {{ time_column }} < $2
LIMIT $3
