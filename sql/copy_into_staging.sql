-- Streams the rows in. FREEZE is allowed because the table was truncated in this transaction: the rows need no
-- second visit to be marked as visible.
-- Locks: the staging table, which this load has anyway. Not to be run again without the TRUNCATE.
COPY {{ staging_table }} ({{ columns }}) FROM STDIN (FORMAT binary, FREEZE)
