-- Proves that the staging table's rows lie in the month, so that ATTACH need not read them under its lock. One scan afterwards
-- takes a fifth of what it takes to check each row as it comes.
-- Locks: the staging table, which nobody else knows. Not to be run again: it fails if the constraint exists.
ALTER TABLE {{ staging }} ADD CONSTRAINT taxi_month
    CHECK ({{ time_column }} IS NOT NULL AND {{ time_column }} >= '{{ first_day }}' AND {{ time_column }} < '{{ next_first_day }}')
