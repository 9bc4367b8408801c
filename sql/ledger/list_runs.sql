-- Lists the latest runs, at most $4: only those of the taxi type $1, with the status $2 and with an id from $3 to $5 or
-- one that ends with the digits $6, where NULL means any. A run that is recorded as running is lost if its process is
-- gone, even if no run has marked it yet. A load is dropped if the rows of its file were dropped since.
-- Locks nothing. May be run again.
WITH listed AS (
    SELECT
        runs.*,
        CASE
            WHEN status = 'running' AND NOT EXISTS (
                SELECT FROM pg_locks
                WHERE locktype = 'advisory' AND granted AND objsubid = 1
                    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                    AND (classid::bigint << 32) | objid::bigint
                        = hashtextextended(replace(run_id::text, '-', ''), 0)
            ) THEN 'lost'
            WHEN dropped_at IS NOT NULL THEN 'dropped'
            ELSE status
        END AS current_status
    FROM taxi_etl.runs
)
SELECT *
FROM listed
WHERE ($1::text IS NULL OR inputs ->> 'taxi' = $1)
    AND ($2::text IS NULL OR current_status = $2)
    AND ($3::uuid IS NULL OR run_id BETWEEN $3 AND $5 OR replace(run_id::text, '-', '') LIKE '%' || $6)
ORDER BY sequence DESC
LIMIT $4
