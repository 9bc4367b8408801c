-- The yellow trips, partitioned by the month of the pickup. The first load of a month adds its partition.
-- Locks: nothing that exists. Cannot be run again: it fails if the table exists.
CREATE TABLE {{ table }} (
    unique_row_id          text,
    filename               text,
    vendorid               text,
    tpep_pickup_datetime   timestamp,
    tpep_dropoff_datetime  timestamp,
    passenger_count        integer,
    trip_distance          double precision,
    ratecodeid             text,
    store_and_fwd_flag     text,
    pulocationid           text,
    dolocationid           text,
    payment_type           integer,
    fare_amount            double precision,
    extra                  double precision,
    mta_tax                double precision,
    tip_amount             double precision,
    tolls_amount           double precision,
    improvement_surcharge  double precision,
    total_amount           double precision,
    congestion_surcharge   double precision
) PARTITION BY RANGE (tpep_pickup_datetime)
