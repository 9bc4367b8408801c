-- Creates the partition for rows of months that were never loaded, in the schema that will hold the months too: what people
-- look at beside the table is the table alone. The index lets a query for one month skip the rest; it takes a few kilobytes.
-- The replica identity lets rows move on to their month even where a publication covers all tables.
-- Locks: the new table, which nobody else knows. Not to be run again: it fails if the partition exists.
{% if creates_schema %}
CREATE SCHEMA {{ schema }};
COMMENT ON SCHEMA {{ schema }} IS 'the months of partitioned tables, added by taxi';
{% endif %}
CREATE TABLE {{ default_partition }} PARTITION OF {{ table }} DEFAULT;
COMMENT ON TABLE {{ default_partition }} IS 'rows dated in months that were not loaded';
ALTER TABLE {{ default_partition }} REPLICA IDENTITY FULL;
CREATE INDEX ON {{ default_partition }} USING brin ({{ time_column }}) WITH (pages_per_range = 32, autosummarize = on)
