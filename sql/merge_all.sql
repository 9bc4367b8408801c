-- As merge_span.sql, where some of the chunk's rows have no time: their matches may have any, so all of the target is read.
MERGE INTO {{ table }} AS target
USING {{ chunk }} AS staged
ON target.{{ key_column }} = staged.{{ key_column }}
    {% if not own_rows_match %} AND target.xmin <> pg_current_xact_id()::xid {% endif %}
WHEN NOT MATCHED THEN
    INSERT ({{ columns }}) VALUES ({{ staged_columns }})
