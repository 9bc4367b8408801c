//! Generates months for tests.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

pub(crate) const YELLOW_HEADER: &str = "VendorID,tpep_pickup_datetime,tpep_dropoff_datetime,passenger_count,trip_distance,\
    RatecodeID,store_and_fwd_flag,PULocationID,DOLocationID,payment_type,fare_amount,extra,mta_tax,tip_amount,\
    tolls_amount,improvement_surcharge,total_amount,congestion_surcharge";
pub(crate) const YELLOW_ROW: &str =
    "1,2021-01-01 00:30:10,2021-01-01 00:36:12,1,2.10,1,N,142,43,2,8,3,0.5,0,0,0.3,11.8,2.5";

pub(crate) fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// Writes `<base>/<taxi>/<taxi>_tripdata_<month>.csv.gz`.
pub(crate) fn write(base: &Path, taxi: &str, month: &str, bytes: &[u8]) -> PathBuf {
    let path = base.join(format!("{taxi}/{taxi}_tripdata_{month}.csv.gz"));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Returns the gzipped file of a yellow month, 2021-01, with `rows` distinct trips.
pub(crate) fn yellow(rows: u32) -> Vec<u8> {
    gzip(yellow_csv(rows, "2021-01").as_bytes())
}

/// Returns the CSV of a yellow month with `rows` distinct trips.
pub(crate) fn yellow_csv(rows: u32, month: &str) -> String {
    let mut text = format!("{YELLOW_HEADER}\r\n");
    for row in 0..rows {
        let (day, hour, minute, second) = (row / 86_400 % 28 + 1, row / 3600 % 24, row / 60 % 60, row % 60);
        let clock = format!("{hour:02}:{minute:02}:{second:02}");
        text.push_str(&format!(
            "{},{month}-{day:02} {clock},{month}-{day:02} {clock},1,{}.{:02},1,N,{},{},2,{}.5,3,0.5,0,0,0.3,11.8,2.5\r\n",
            row % 2 + 1,
            row % 17,
            row % 100,
            row % 263 + 1,
            row / 7 % 263 + 1,
            row % 60,
        ));
    }
    text
}
