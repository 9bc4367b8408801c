-- What decides how the staged rows are merged: how many rows of the file's own period, $1 to before $2, the target
-- holds, counted no further than to $3, and their times; the times of staged rows outside of that period, $3 at most;
-- then whether either table holds rows without a time.
-- Locks: the staging table against changes, which this load has anyway. May be run again.
WITH present AS MATERIALIZED (
    SELECT {{ time_column }} AS time FROM {{ table }}
    WHERE {{ time_column }} >= $1 AND {{ time_column }} < $2
    LIMIT $3
)
SELECT
    (SELECT count(*) FROM present),
    ARRAY(SELECT DISTINCT time FROM present),
    ARRAY(
        SELECT DISTINCT {{ time_column }} FROM {{ staging_table }}
        WHERE {{ time_column }} < $1 OR {{ time_column }} >= $2
        LIMIT $3
    ),
    EXISTS (SELECT FROM {{ table }} WHERE {{ time_column }} IS NULL)
        OR EXISTS (SELECT FROM {{ staging_table }} WHERE {{ time_column }} IS NULL)
