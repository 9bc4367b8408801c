-- Deletes the rows of a lookup table that are not among those of the file, which $1 has as a JSON array.
-- Locks: the deleted rows, until the transaction ends. May be run again.
DELETE FROM {{ table }} AS held
WHERE NOT EXISTS (
    SELECT FROM jsonb_populate_recordset(NULL::{{ table }}, $1) AS listed
    WHERE ROW({{ listed_columns }}) IS NOT DISTINCT FROM ROW({{ held_columns }})
)
