-- The staged rows less the distinct keys among them; if $1 is not NULL, only the keys $1 can be there more than once.
-- Locks nothing. May be run again.
SELECT count(key) - count(DISTINCT key)
FROM (
    {% for staging in tables %}
    SELECT {{ key_column }} AS key FROM {{ staging }} {% if not loop.last %} UNION ALL {% endif %}
    {% endfor %}
) AS staged
WHERE $1::text[] IS NULL OR key = ANY ($1)
