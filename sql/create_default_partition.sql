-- Creates the default partition, for rows of months that were never loaded. It is in the schema that also holds the
-- partitions of the months, so that users see only the table itself in the table's schema. The index lets a query
-- for one month skip rows of other months, and takes a few kilobytes. The replica identity lets rows move to their
-- month's partition even if a publication covers all tables.
-- Locks: the new table, which no other session can see. Cannot be run again: it fails if the partition exists.
{% if creates_schema %}
CREATE SCHEMA {{ schema }};
COMMENT ON SCHEMA {{ schema }} IS 'the months of partitioned tables, added by taxi';
{% endif %}
CREATE TABLE {{ default_partition }} PARTITION OF {{ table }} DEFAULT;
COMMENT ON TABLE {{ default_partition }} IS 'rows dated in months that were not loaded';
ALTER TABLE {{ default_partition }} REPLICA IDENTITY FULL;
CREATE INDEX ON {{ default_partition }} USING brin ({{ time_column }}) WITH (pages_per_range = 32, autosummarize = on)
