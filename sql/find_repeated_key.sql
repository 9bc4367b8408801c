-- Finds the first staged key that repeats: returns the key, and the numbers of its rows in the order of the COPY, from 0.
-- If $1 is not NULL, only the keys in $1 can occur more than once.
-- Locks nothing. May be run again.
SELECT key, array_agg(number ORDER BY number)
FROM (SELECT {{ key_column }}::text AS key, row_number() OVER (ORDER BY ctid) - 1 AS number FROM {{ staging }}) AS numbered
WHERE $1::text[] IS NULL OR key = ANY ($1)
GROUP BY key
HAVING count(*) > 1
ORDER BY min(number)
LIMIT 1
