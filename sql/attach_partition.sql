-- Attaches the staging table as the month's partition. Then drops the CHECK constraint that proved that all rows
-- are in the month.
-- Locks: the default partition against all access (ACCESS EXCLUSIVE) and the target against schema changes (SHARE
-- UPDATE EXCLUSIVE), until the transaction ends. Cannot be run again: it fails if the table is attached.
ALTER TABLE {{ table }} ATTACH PARTITION {{ staging }} FOR VALUES FROM ('{{ first_day }}') TO ('{{ next_first_day }}');
ALTER TABLE {{ staging }} DROP CONSTRAINT taxi_month, ALTER {{ filename_column }} DROP DEFAULT
