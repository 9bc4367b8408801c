-- Creates a staging table for rows that are merged. The same transaction drops it. A table for all rows of a file
-- is unlogged: with WAL, the server would write every row three times.
-- Locks: nothing that exists. Cannot be run again: it fails if the table exists.
CREATE {% if unlogged %} UNLOGGED {% endif %} TABLE {{ staging }} (LIKE {{ table }});
ALTER TABLE {{ staging }} ALTER {{ filename_column }} SET DEFAULT {{ filename }}
