-- Whether the target holds the key of the staged row at the place $1.
-- Locks nothing. May be run again.
SELECT EXISTS (
    SELECT FROM {{ table }} AS target
    JOIN {{ staging }} AS staged ON staged.{{ key_column }} = target.{{ key_column }}
    WHERE staged.ctid = $1::text::tid
)
