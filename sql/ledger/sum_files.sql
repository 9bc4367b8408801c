-- What the ledger says of the files $2 in the table $1: the rows that each held when it was loaded last, and the rows that were
-- inserted under its name since it was replaced last, if it was.
-- Locks nothing.
WITH success AS (
    SELECT
        filename, rows_read, rows_inserted, started_at,
        max(started_at) FILTER (WHERE if_loaded = 'replace') OVER (PARTITION BY filename) AS replaced_at
    FROM taxi_etl.runs
    WHERE target_table = $1 AND filename = ANY ($2) AND status = 'succeeded'
)
SELECT
    filename,
    (array_agg(rows_read ORDER BY started_at DESC))[1],
    (sum(rows_inserted) FILTER (WHERE replaced_at IS NULL OR started_at >= replaced_at))::bigint
FROM success
GROUP BY filename
