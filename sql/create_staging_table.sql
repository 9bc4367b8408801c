-- Creates a staging table for rows that are merged. It has the target's columns but none of its constraints, because
-- triggers may still fill columns. It is dropped in the same transaction. A staging table for all rows of a file is
-- unlogged: if it were logged, the server would write every row three times.
-- Locks: nothing that exists. Cannot be run again: it fails if the table exists.
CREATE {% if unlogged %} UNLOGGED {% endif %} TABLE {{ staging }} AS SELECT {{ columns }} FROM {{ table }} WITH NO DATA;
ALTER TABLE {{ staging }} ALTER {{ filename_column }} SET DEFAULT {{ filename }}
