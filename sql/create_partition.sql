-- Creates the staging table that becomes the month's partition. Its CHECK constraint proves that the rows lie in
-- the month, so that ATTACH does not read them under its lock. The file's name is a column default while rows
-- arrive, so that the load does not send it with each row: this saves a tenth of the server's time. The table
-- belongs to the target's owner, who can then alter both.
-- Locks: nothing that exists. Cannot be run again: it fails if the table exists.
CREATE TABLE {{ staging }} (
    LIKE {{ table }} INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING STORAGE INCLUDING COMPRESSION,
    CONSTRAINT taxi_month
        CHECK ({{ time_column }} IS NOT NULL AND {{ time_column }} >= '{{ first_day }}' AND {{ time_column }} < '{{ next_first_day }}')
);
ALTER TABLE {{ staging }} ALTER {{ filename_column }} SET DEFAULT {{ filename }}, REPLICA IDENTITY FULL;
{% if owner %} ALTER TABLE {{ staging }} OWNER TO {{ owner }} {% endif %}
