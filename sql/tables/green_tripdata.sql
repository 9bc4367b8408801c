-- The green trips, partitioned by the month of the pickup. The first load of a month adds its partition.
-- Locks: nothing that exists. Cannot be run again: it fails if the table exists.
CREATE TABLE {{ table }} (
    unique_row_id          text,
    filename               text,
    vendorid               text,
    lpep_pickup_datetime   timestamp,
    lpep_dropoff_datetime  timestamp,
    store_and_fwd_flag     text,
    ratecodeid             text,
    pulocationid           text,
    dolocationid           text,
    passenger_count        integer,
    trip_distance          double precision,
    fare_amount            double precision,
    extra                  double precision,
    mta_tax                double precision,
    tip_amount             double precision,
    tolls_amount           double precision,
    ehail_fee              double precision,
    improvement_surcharge  double precision,
    total_amount           double precision,
    payment_type           integer,
    trip_type              integer,
    congestion_surcharge   double precision
) PARTITION BY RANGE (lpep_pickup_datetime)
