-- Lists the tables that loads have filled, by the names in the run history.
-- Locks nothing. May be run again.
SELECT DISTINCT target_table FROM taxi_etl.runs WHERE target_table IS NOT NULL ORDER BY 1
