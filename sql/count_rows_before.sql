-- Counts the staged rows before the row at the place $1, in the order of the COPY.
-- Locks nothing. May be run again.
SELECT count(*) FROM {{ staging }} WHERE ctid < $1::text::tid
