-- Sets the key $2 of the namespace $1 to the value $4 of the kind $3, with the description $5, until $6. A key that
-- exists and has not expired keeps its value unless $7 is true; the statement then affects no row.
-- Locks: the key's row, until the transaction ends. May be run again.
INSERT INTO taxi_etl.key_values AS known (namespace, key, kind, value, description, expires_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (namespace, key) DO UPDATE
SET kind = excluded.kind,
    value = excluded.value,
    description = excluded.description,
    expires_at = excluded.expires_at,
    updated_at = now()
WHERE $7 OR known.expires_at <= now()
