-- The trips of for-hire vehicles, partitioned by the month of the pickup. The first load of a month adds its partition.
-- Locks: nothing that exists. Cannot be run again: it fails if the table exists.
CREATE TABLE {{ table }} (
    unique_row_id           text,
    filename                text,
    dispatching_base_num    text,
    pickup_datetime         timestamp,
    dropoff_datetime        timestamp,
    pulocationid            text,
    dolocationid            text,
    sr_flag                 text,
    affiliated_base_number  text
) PARTITION BY RANGE (pickup_datetime)
