-- Whether there is anything for take_back.sql, of the same parameters, to remove.
-- Locks nothing. May be run again.
SELECT EXISTS (
    SELECT FROM {{ table }} AS own
    JOIN {{ table }} AS other ON own.{{ key_column }} = other.{{ key_column }}
    WHERE own.{{ time_column }} >= $1 AND own.{{ time_column }} < $2
        AND own.xmin = pg_current_xact_id()::xid
        AND (other.{{ time_column }} >= $1 AND other.{{ time_column }} < $2 OR other.{{ time_column }} IS NULL)
        AND other.xmin <> pg_current_xact_id()::xid
        AND age(other.xmin) <= age($3::text::xid)
)
