-- Streams rows in. FREEZE is allowed because the table was created in this transaction: its rows need no second visit to
-- be marked as visible.
-- Locks: the chunk, which nobody else knows. May be run again, and then adds the rows again.
COPY {{ chunk }} ({{ columns }}) FROM STDIN (FORMAT binary, FREEZE)
