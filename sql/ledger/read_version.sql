-- The version of the ledger's tables. Locks nothing.
SELECT version FROM taxi_etl.ledger_version
