#!/bin/sh
# Makes the two months of this folder: invented trips, shaped like the published ones (CR LF, decimals like ".20", a
# block of rows with empty cells at the end, a stray pickup date, a row that stands twice). Run it here; the same
# rows come out every time.
set -eu
cd "$(dirname "$0")"

# trips SEED ROWS MONTH COLOUR: a small linear congruential generator, because awks differ in their rand()
trips() {
    awk -v state="$1" -v rows="$2" -v month="$3" -v colour="$4" '
    function below(n) { state = (state * 16807) % 2147483647; return state % n }
    function money(cents) { return cents % 100 == 0 ? cents / 100 : sprintf("%.2f", cents / 100) }
    function at(second) {
        return sprintf("%s-%02d %02d:%02d:%02d", month, second / 86400 + 1, second / 3600 % 24, second / 60 % 60, second % 60)
    }
    BEGIN {
        ORS = "\r\n"
        if (colour == "yellow")
            print "VendorID,tpep_pickup_datetime,tpep_dropoff_datetime,passenger_count,trip_distance,RatecodeID,store_and_fwd_flag,PULocationID,DOLocationID,payment_type,fare_amount,extra,mta_tax,tip_amount,tolls_amount,improvement_surcharge,total_amount,congestion_surcharge"
        else
            print "VendorID,lpep_pickup_datetime,lpep_dropoff_datetime,store_and_fwd_flag,RatecodeID,PULocationID,DOLocationID,passenger_count,trip_distance,fare_amount,extra,mta_tax,tip_amount,tolls_amount,ehail_fee,improvement_surcharge,total_amount,payment_type,trip_type,congestion_surcharge"
        for (row = 1; row <= rows; row++) {
            second = int(row * 2400000 / rows) + below(3600)
            pickup = row == 7 ? "2009-01-01 00:12:44" : at(second)
            dropoff = row == 7 ? "2009-01-01 00:31:05" : at(second + 60 + below(2400))
            vendor = below(2) + 1; from = below(263) + 1; to = below(263) + 1; people = below(6) + 1; pay = below(4) + 1
            distance = sprintf("%.2f", below(1500) / 100); sub(/^0\./, ".", distance)
            fare = 250 + 50 * below(80); tip = below(3) ? below(900) : 0; total = fare + tip + 380
            rate = 1; flag = "N"
            if (row > rows * 0.9) { vendor = rate = flag = people = pay = "" }
            if (colour == "yellow")
                line = vendor "," pickup "," dropoff "," people "," distance "," rate "," flag "," from "," to "," pay "," money(fare) ",0.5,0.5," money(tip) ",0,0.3," money(total) ",2.5"
            else
                line = vendor "," pickup "," dropoff "," flag "," rate "," from "," to "," people "," distance "," money(fare) ",0.5,0.5," money(tip) ",0,,0.3," money(total) "," pay "," (pay == "" ? "" : 1) "," (pay == "" ? "" : "2.75")
            print line
            if (row == 100) print line
        }
    }' | gzip -9n
}

mkdir -p yellow green
trips 20210101 3000 2021-01 yellow > yellow/yellow_tripdata_2021-01.csv.gz
trips 20200301 2000 2020-03 green > green/green_tripdata_2020-03.csv.gz
