-- The staged rows less the distinct row keys among them.
-- Locks: the staging table against changes, which this load has anyway. May be run again.
SELECT count({{ key_column }}) - count(DISTINCT {{ key_column }}) FROM {{ staging_table }}
