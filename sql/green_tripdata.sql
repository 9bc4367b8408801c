-- The green trips.
-- Locks: nothing that exists. May be run again: what exists is left as it is.
-- The index says which months each stretch of the table holds, in a few kilobytes: a load reads only its own.
CREATE TABLE IF NOT EXISTS {{ table }} (
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
);

CREATE INDEX IF NOT EXISTS green_tripdata_pickup ON {{ table }}
USING brin (lpep_pickup_datetime) WITH (pages_per_range = 32);
