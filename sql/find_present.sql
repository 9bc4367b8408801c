-- What decides how staged rows are moved: how many rows of the file's own period, $1 to before $2, the target holds,
-- counted no further than to $3, and their times; and whether it holds rows without a time.
-- Locks nothing. May be run again.
WITH present AS MATERIALIZED (
    SELECT {{ time_column }} AS time FROM {{ table }}
    WHERE {{ time_column }} >= $1 AND {{ time_column }} < $2
    LIMIT $3
)
SELECT
    (SELECT count(*) FROM present),
    ARRAY(SELECT DISTINCT time FROM present),
    EXISTS (SELECT FROM {{ table }} WHERE {{ time_column }} IS NULL)
