-- The keys that have not expired, with their values.
-- Locks nothing. May be run again.
SELECT namespace, key, value, expires_at
FROM taxi_etl.key_values
WHERE expires_at IS NULL OR expires_at > now()
ORDER BY namespace, key
