-- Streams rows into a staging table, where the file's name is a column default. FREEZE is allowed because this
-- transaction created the table. With FREEZE, the server does not have to process every row again later.
-- Locks: the staging table, which no other session can see. May be run again, but then adds the rows again.
COPY {{ staging }} ({{ file_columns }}) FROM STDIN (FORMAT binary, FREEZE)
