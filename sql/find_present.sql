-- What decides how rows are moved: how many rows of the file's own period, $1 to before $2, the target holds, counted no
-- further than to $3, and their times; whether it holds rows without a time; whether policies decide over the rows of the
-- target (the quoted name $5), which COPY does not obey; and, to find out later who has committed since: the oldest
-- transaction whose rows may not be seen here yet, and the runs into the table $4 that are no older than that and are seen.
-- Locks nothing. May be run again.
WITH present AS MATERIALIZED (
    SELECT {{ time_column }} AS time FROM {{ table }}
    WHERE {{ time_column }} >= $1 AND {{ time_column }} < $2
    LIMIT $3
)
SELECT
    (SELECT count(*) FROM present),
    ARRAY(SELECT DISTINCT time FROM present),
    EXISTS (SELECT FROM {{ table }} WHERE {{ time_column }} IS NULL),
    row_security_active(to_regclass($5)::oid),
    pg_snapshot_xmin(pg_current_snapshot())::xid::text,
    ARRAY(
        SELECT run_id FROM taxi_etl.runs
        WHERE target_table = $4 AND status = 'succeeded'
            AND age(xmin) <= age(pg_snapshot_xmin(pg_current_snapshot())::xid)
    )
