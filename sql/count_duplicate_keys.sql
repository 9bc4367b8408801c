-- The staged rows less the distinct row keys among them; where only the keys $1 can stand in the file more than once, of
-- those alone.
-- Locks nothing. May be run again.
SELECT count(key) - count(DISTINCT key)
FROM (
    {% for chunk in chunks %}
    SELECT {{ key_column }} AS key FROM {{ chunk }} {% if not loop.last %} UNION ALL {% endif %}
    {% endfor %}
) AS staged
{% if some_suspects %} WHERE key = ANY ($1) {% endif %}
