#!/bin/sh
# Makes the files of this folder: invented trips, shaped like the published ones (CR LF, decimals like ".20", a block of
# rows with empty cells at the end, a stray pickup date, a row that stands twice), and a part of a zone lookup table.
# Run it here; the same rows come out every time.
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
        else if (colour == "fhv")
            print "dispatching_base_num,pickup_datetime,dropOff_datetime,PUlocationID,DOlocationID,SR_Flag,Affiliated_base_number"
        else if (colour == "fhvhv")
            print "hvfhs_license_num,dispatching_base_num,pickup_datetime,dropoff_datetime,PULocationID,DOLocationID,SR_Flag"
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
            else if (colour == "fhv") {
                base = sprintf("B%05d", below(40) + 1)
                # most bases report no zone of the pickup, and pad their numbers with spaces
                line = base "," pickup "," dropoff "," (below(3) ? "" : from) "," to ",," base (below(4) ? "" : "         ")
            } else if (colour == "fhvhv")
                line = (below(3) ? "HV0003,B02" : "HV0005,B02") (below(3) ? 510 : 764) "," pickup "," dropoff "," from "," to "," (below(9) ? "" : 1)
            else
                line = vendor "," pickup "," dropoff "," flag "," rate "," from "," to "," people "," distance "," money(fare) ",0.5,0.5," money(tip) ",0,,0.3," money(total) "," pay "," (pay == "" ? "" : 1) "," (pay == "" ? "" : "2.75")
            print line
            if (row == 100) print line
        }
    }' | gzip -9n
}

# a part of the lookup table of the zones, in the published form
zones() {
    printf '"LocationID","Borough","Zone","service_zone"\r\n'
    printf '%s,"%s","%s","%s"\r\n' 1 EWR "Newark Airport" EWR 43 Manhattan "Central Park" "Yellow Zone" \
        132 Queens "JFK Airport" Airports 142 Manhattan "Lincoln Square East" "Yellow Zone" 264 Unknown N/A N/A \
        265 N/A "Outside of NYC" N/A
}

mkdir -p yellow green fhv fhvhv misc
trips 20210101 3000 2021-01 yellow > yellow/yellow_tripdata_2021-01.csv.gz
trips 20200301 2000 2020-03 green > green/green_tripdata_2020-03.csv.gz
trips 20190201 500 2019-02 fhv > fhv/fhv_tripdata_2019-02.csv.gz
trips 20190202 500 2019-02 fhvhv > fhvhv/fhvhv_tripdata_2019-02.csv.gz
zones > misc/taxi_zone_lookup.csv
