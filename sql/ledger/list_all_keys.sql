-- All keys, and whether they have expired.
-- Locks nothing. May be run again.
SELECT namespace, key, coalesce(expires_at <= now(), false)
FROM taxi_etl.key_values
ORDER BY namespace, key
