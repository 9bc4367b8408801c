-- Whether another run has inserted rows into the table $1 since this one looked: among those that had not surely ended before
-- the transaction $2 did, one that is not of those seen, $3.
-- Locks nothing. May be run again.
SELECT EXISTS (
    SELECT FROM taxi_etl.runs
    WHERE target_table = $1 AND status = 'succeeded' AND rows_inserted > 0
        AND age(xmin) <= age($2::text::xid) AND run_id <> ALL ($3)
)
