-- Lets the planner know what the staging table holds by a small sample: without, it takes a month for a few rows.
-- Locks: the staging table, which this load has anyway. May be run again.
SET LOCAL default_statistics_target = 10;
ANALYZE {{ staging_table }} ({{ time_column }}, {{ key_column }});
SET LOCAL default_statistics_target TO DEFAULT;
