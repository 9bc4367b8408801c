-- The trips of high-volume for-hire vehicles (Uber, Lyft, Via, Juno), partitioned by the month of the pickup. The first
-- load of a month adds its partition. The columns are those of the Parquet files; sr_flag is in the CSV files alone.
-- Locks: nothing that exists. Cannot be run again: it fails if the table exists.
CREATE TABLE {{ table }} (
    unique_row_id         text,
    filename              text,
    hvfhs_license_num     text,
    dispatching_base_num  text,
    originating_base_num  text,
    request_datetime      timestamp,
    on_scene_datetime     timestamp,
    pickup_datetime       timestamp,
    dropoff_datetime      timestamp,
    pulocationid          text,
    dolocationid          text,
    trip_miles            double precision,
    trip_time             integer,
    base_passenger_fare   double precision,
    tolls                 double precision,
    bcf                   double precision,
    sales_tax             double precision,
    congestion_surcharge  double precision,
    airport_fee           double precision,
    tips                  double precision,
    driver_pay            double precision,
    shared_request_flag   text,
    shared_match_flag     text,
    access_a_ride_flag    text,
    wav_request_flag      text,
    wav_match_flag        text,
    cbd_congestion_fee    double precision,
    sr_flag               text
) PARTITION BY RANGE (pickup_datetime)
