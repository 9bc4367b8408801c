-- Deletes the key $2 of the namespace $1.
-- Locks: the key's row, until the transaction ends. May be run again.
DELETE FROM taxi_etl.key_values WHERE namespace = $1 AND key = $2
