-- The taxi zones. The ids are text, as in the trips, so that a join needs no cast.
-- Locks: nothing that exists. Cannot be run again: it fails if the table exists.
CREATE TABLE {{ table }} (
    locationid    text PRIMARY KEY,
    borough       text,
    zone          text,
    service_zone  text
)
