-- Records the rows of the file $2 that the run $1 rejected. $3 to $6 are arrays of their lines, columns, reasons
-- and texts.
-- Locks: the run's row, against deletion, until the transaction ends. Must not be run again: it would record the
-- rows twice.
INSERT INTO taxi_etl.rejects (run_id, filename, line, column_name, reason, raw)
SELECT $1, $2, left_out.*
FROM unnest($3::bigint[], $4::text[], $5::text[], $6::text[]) AS left_out
