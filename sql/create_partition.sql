-- Creates the staging table that becomes the month's partition. The file's name is a default while rows come in, which spares
-- sending it with each row: a tenth of the server's time. It belongs to the owner of the target, who can then alter both.
-- Locks: nothing that exists. Not to be run again: it fails if the table exists.
CREATE TABLE {{ staging }} (
    LIKE {{ table }} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING GENERATED INCLUDING STORAGE INCLUDING COMPRESSION
);
ALTER TABLE {{ staging }} ALTER {{ filename_column }} SET DEFAULT {{ filename }}, REPLICA IDENTITY FULL;
{% if owner %} ALTER TABLE {{ staging }} OWNER TO {{ owner }} {% endif %}
