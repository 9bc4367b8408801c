-- As count_duplicate_keys.sql, where only the keys $1 can stand in the file more than once.
SELECT count({{ key_column }}) - count(DISTINCT {{ key_column }}) FROM {{ staging_table }}
WHERE {{ key_column }} = ANY ($1)
