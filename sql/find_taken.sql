-- Whether there is anything for take_back.sql, of the same parameters, to remove.
-- Locks nothing. May be run again.
SELECT EXISTS (
    SELECT FROM {{ table }} AS own
    JOIN {{ table }} AS other ON own.{{ key_column }} = other.{{ key_column }}
    WHERE own.xmin = pg_current_xact_id()::xid
        AND other.xmin <> pg_current_xact_id()::xid AND age(other.xmin) <= age($1::text::xid)
        {% if all_times %}
        AND own.{{ time_column }} >= $2 AND own.{{ time_column }} < $3
        AND (other.{{ time_column }} >= $2 AND other.{{ time_column }} < $3 OR other.{{ time_column }} IS NULL)
        {% else %}
        AND own.{{ time_column }} = ANY ($2) AND other.{{ time_column }} = ANY ($2)
        {% endif %}
)
