-- Inserts those rows of a chunk whose key the target does not hold, where all of them have times from $1 to $2. It updates
-- nothing. A key is made of its row's time, so a match has the same time and the rest of the target is not read; rows
-- without a time are looked at where the target has some. What this very transaction has inserted is no match, so
-- rows that share a key within a file are all inserted; but for a chunk that is merged again.
-- Locks: the target against changes of its shape (ROW EXCLUSIVE). May be run again, by another transaction: then
-- every row is matched.
MERGE INTO {{ table }} AS target
USING {{ chunk }} AS staged
ON target.{{ key_column }} = staged.{{ key_column }}
    AND (
        target.{{ time_column }} >= $1 AND target.{{ time_column }} <= $2
        {% if some_without_time %} OR target.{{ time_column }} IS NULL {% endif %}
    )
    {% if not own_rows_match %} AND target.xmin <> pg_current_xact_id()::xid {% endif %}
WHEN NOT MATCHED THEN
    INSERT ({{ columns }}) VALUES ({{ staged_columns }})
