-- The yellow trips.
-- Locks: nothing that exists. May be run again: what exists is left as it is.
-- The index says which months each stretch of the table holds, in a few kilobytes: a load reads only its own.
CREATE TABLE IF NOT EXISTS {{ table }} (
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
);

CREATE INDEX IF NOT EXISTS yellow_tripdata_pickup ON {{ table }}
USING brin (tpep_pickup_datetime) WITH (pages_per_range = 32);
