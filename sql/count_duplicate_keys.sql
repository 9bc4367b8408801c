-- The staged rows less the distinct row keys among them.
-- Locks: the staging table against changes, which this load has anyway. May be run again.
SELECT (count(*) - count(DISTINCT key))::bigint FROM (SELECT {{ key_column }} AS key FROM {{ staging_table }}) AS staged
