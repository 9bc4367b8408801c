-- Counts the target's rows by file and partition. Reads the whole target.
-- Locks nothing. May be run again.
SELECT {{ filename_column }}::text, tableoid, tableoid::regclass::text, count(*)
FROM {{ table }}
GROUP BY 1, 2
ORDER BY 3
