-- Makes the staging table the month's partition. The constraint has proved the bounds, and is not needed any more.
-- Locks: the default partition against everything (ACCESS EXCLUSIVE), the target against other changes of its shape (SHARE
-- UPDATE EXCLUSIVE), until the transaction ends. Not to be run again: it fails if the table is attached.
ALTER TABLE {{ table }} ATTACH PARTITION {{ staging }} FOR VALUES FROM ('{{ first_day }}') TO ('{{ next_first_day }}');
ALTER TABLE {{ staging }} DROP CONSTRAINT taxi_month, ALTER {{ filename_column }} DROP DEFAULT
