-- Proves that the staging table's rows lie in the month, so that ATTACH does not read them under its lock. One
-- scan after the rows have arrived takes a fifth of the time of checking each row as it arrives.
-- Locks: the staging table, which no other session can see. Cannot be run again: it fails if the constraint
-- exists.
ALTER TABLE {{ staging }} ADD CONSTRAINT taxi_month
    CHECK ({{ time_column }} IS NOT NULL AND {{ time_column }} >= '{{ first_day }}' AND {{ time_column }} < '{{ next_first_day }}')
