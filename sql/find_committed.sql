-- What other runs have inserted into the table $1 outside of their own periods since this one looked, of the runs that had not
-- surely ended before the transaction $2 did and are not of those seen, $3: whether some is not known in detail, the times
-- of it in the period $4 to before $5, and whether rows were deleted, to be replaced.
-- Locks nothing. May be run again.
WITH committed AS (
    SELECT stray_times, rows_inserted, rows_deleted FROM taxi_etl.runs
    WHERE target_table = $1 AND status = 'succeeded'
        AND age(xmin) <= age($2::text::xid) AND run_id <> ALL ($3)
)
SELECT
    EXISTS (SELECT FROM committed WHERE stray_times IS NULL AND rows_inserted > 0),
    ARRAY(
        SELECT DISTINCT stray_time FROM committed, unnest(stray_times) AS stray_time
        WHERE rows_inserted > 0 AND stray_time >= $4 AND stray_time < $5
    ),
    EXISTS (SELECT FROM committed WHERE rows_deleted > 0)
