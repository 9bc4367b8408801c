-- Removes those rows of the file's own period that this transaction has inserted and that another, no older than the
-- transaction $1, has committed in the meantime, as a row outside of its file's period: the result is that of one load after
-- the other. Looks at the times $2, or at all from $2 to before $3.
-- Locks: this transaction's own rows. May be run again.
DELETE FROM {{ table }} AS own USING {{ table }} AS other
WHERE own.{{ key_column }} = other.{{ key_column }}
    AND own.xmin = pg_current_xact_id()::xid
    AND other.xmin <> pg_current_xact_id()::xid AND age(other.xmin) <= age($1::text::xid)
    {% if all_times %}
    AND own.{{ time_column }} >= $2 AND own.{{ time_column }} < $3
    AND (other.{{ time_column }} >= $2 AND other.{{ time_column }} < $3 OR other.{{ time_column }} IS NULL)
    {% else %}
    AND own.{{ time_column }} = ANY ($2) AND other.{{ time_column }} = ANY ($2)
    {% endif %}
