-- Deletes the staged rows that repeat the key of an earlier row, in the order of the COPY. If $1 is not NULL, only the keys
-- in $1 can occur more than once.
-- Locks: the staging table, which no other session can see. May be run again: it then deletes nothing.
DELETE FROM {{ staging }}
WHERE ctid IN (
    SELECT ctid
    FROM (
        SELECT ctid, row_number() OVER (PARTITION BY {{ key_column }} ORDER BY ctid) AS nth
        FROM {{ staging }}
        WHERE $1::text[] IS NULL OR {{ key_column }} = ANY ($1)
    ) AS numbered
    WHERE nth > 1
)
