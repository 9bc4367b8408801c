-- Streams rows into a staging table; the file's name is its default. FREEZE is allowed since this transaction has created the
-- table, and spares a second visit to every row.
-- Locks: the staging table, which nobody else knows. May be run again, and then adds the rows again.
COPY {{ staging }} ({{ file_columns }}) FROM STDIN (FORMAT binary, FREEZE)
