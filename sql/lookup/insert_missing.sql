-- Inserts the rows of the file, which $1 has as a JSON array, that a lookup table does not hold. The server casts each
-- cell to its column's type.
-- Locks: nothing that others wait for, besides the keys of the new rows. May be run again.
INSERT INTO {{ table }} ({{ columns }})
SELECT {{ listed_columns }}
FROM jsonb_populate_recordset(NULL::{{ table }}, $1) AS listed
WHERE NOT EXISTS (
    SELECT FROM {{ table }} AS held
    WHERE ROW({{ listed_columns }}) IS NOT DISTINCT FROM ROW({{ held_columns }})
)
