-- Removes those rows of the file's period, $1 to before $2, that this transaction has inserted and that another, no older than
-- the transaction $3, has committed in the meantime, as a row outside of its own file's period: the result is that of one
-- load after the other.
-- Locks: this transaction's own rows. May be run again.
DELETE FROM {{ table }} AS own
USING {{ table }} AS other
WHERE own.{{ key_column }} = other.{{ key_column }}
    AND own.{{ time_column }} >= $1 AND own.{{ time_column }} < $2
    AND own.xmin = pg_current_xact_id()::xid
    AND (other.{{ time_column }} >= $1 AND other.{{ time_column }} < $2 OR other.{{ time_column }} IS NULL)
    AND other.xmin <> pg_current_xact_id()::xid
    AND age(other.xmin) <= age($3::text::xid)
