-- Inserts the staged rows of the file's own period, $1 to before $2, but for the times $3: those are all that the
-- target holds of the period, so no other row can have a match. Takes half the time of a MERGE that finds nothing.
-- Locks: the target against changes of its shape (ROW EXCLUSIVE). Not to be run again: it would insert again.
INSERT INTO {{ table }} ({{ columns }})
SELECT {{ columns }} FROM {{ staging_table }}
WHERE {{ time_column }} >= $1 AND {{ time_column }} < $2 AND {{ time_column }} <> ALL ($3)
