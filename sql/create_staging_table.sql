-- Creates a staging table for rows that are merged, with the target's columns and none of its constraints: triggers may still fill
-- them. It is dropped in the same transaction. One for all rows of a file is unlogged: with a log, the server writes every row
-- three times.
-- Locks: nothing that exists. Not to be run again: it fails if the table exists.
CREATE {% if unlogged %} UNLOGGED {% endif %} TABLE {{ staging }} AS SELECT {{ columns }} FROM {{ table }} WITH NO DATA;
ALTER TABLE {{ staging }} ALTER {{ filename_column }} SET DEFAULT {{ filename }}
