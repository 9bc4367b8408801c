-- A trip that its file holds more than once is one trip here.
select distinct on (unique_row_id)
    unique_row_id as trip_id,
    filename,
    nullif(vendorid, '')::integer as vendor_id,
    lpep_pickup_datetime as picked_up_at,
    lpep_dropoff_datetime as dropped_off_at,
    pulocationid::integer as pickup_zone_id,
    dolocationid::integer as dropoff_zone_id,
    passenger_count,
    trip_distance as distance_miles,
    payment_type,
    fare_amount,
    total_amount
from {{ source('loaded', 'green_tripdata') }}
order by unique_row_id
