-- As merge_span.sql, where all of the chunk's rows have one of the times $1.
MERGE INTO {{ table }} AS target
USING {{ chunk }} AS staged
ON target.{{ key_column }} = staged.{{ key_column }}
    AND (
        target.{{ time_column }} = ANY ($1)
        {% if some_without_time %} OR target.{{ time_column }} IS NULL {% endif %}
    )
    {% if not own_rows_match %} AND target.xmin <> pg_current_xact_id()::xid {% endif %}
WHEN NOT MATCHED THEN
    INSERT ({{ columns }}) VALUES ({{ staged_columns }})
