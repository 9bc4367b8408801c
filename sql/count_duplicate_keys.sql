-- Counts the staged rows minus the distinct keys among them. If $1 is not NULL, only the keys in $1 can occur more
-- than once, and the query counts only these.
-- Locks nothing. May be run again.
SELECT count(key) - count(DISTINCT key)
FROM (
    {% for staging in tables %}
    SELECT {{ key_column }} AS key FROM {{ staging }} {% if not loop.last %} UNION ALL {% endif %}
    {% endfor %}
) AS staged
WHERE $1::text[] IS NULL OR key = ANY ($1)
