-- The version of the ledger's tables. Locks nothing. May be run again.
SELECT version FROM taxi_etl.ledger_version
