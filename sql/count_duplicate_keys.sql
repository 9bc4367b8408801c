-- The file's rows less the distinct row keys among them; where $1 is not NULL, only the keys $1 can stand in the file more
-- than once. Rows that went straight into the target are this transaction's, from $3 to before $4, and where $2 is not NULL,
-- those of the keys $1 have one of the times $2.
-- Locks nothing. May be run again.
SELECT count(key) - count(DISTINCT key)
FROM (
    {% if straight %}
    SELECT {{ key_column }} AS key FROM {{ table }}
    WHERE {{ time_column }} >= $3 AND {{ time_column }} < $4
        AND ($2::timestamp[] IS NULL OR {{ time_column }} = ANY ($2))
        AND xmin = pg_current_xact_id()::xid
    {% if chunks %} UNION ALL {% endif %}
    {% endif %}
    {% for chunk in chunks %}
    SELECT {{ key_column }} AS key FROM {{ chunk }} {% if not loop.last %} UNION ALL {% endif %}
    {% endfor %}
) AS loaded
WHERE $1::text[] IS NULL OR key = ANY ($1)
