-- Writes the rows that the run $1 left out of the file $2: their lines, columns, reasons and texts, $3 to $6.
-- Locks: the run's row, against its deletion, until the transaction ends. Not to be run again: it would write them twice.
INSERT INTO taxi_etl.rejects (run_id, filename, line, column_name, reason, raw)
SELECT $1, $2, left_out.*
FROM unnest($3::bigint[], $4::text[], $5::text[], $6::text[]) AS left_out
