//! Generates months of yellow trips, shaped like the published ones. Every call generates the same rows.
//!
//! Trips are ordered by pickup time, with some jitter. The last 5 % of the rows are a separate block with
//! empty cells. A few pickups lie outside the month, by eleven years or by less than an hour. Amounts are
//! written like `.20`, `8` and `11.8`. Lines end in CRLF. 1.37 million rows make about 25 MB gzipped and 120
//! MB of CSV.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::ToSpan as _;
use jiff::civil::{Date, DateTime};

pub(crate) const HEADER: &str = "VendorID,tpep_pickup_datetime,tpep_dropoff_datetime,passenger_count,trip_distance,RatecodeID,\
    store_and_fwd_flag,PULocationID,DOLocationID,payment_type,fare_amount,extra,mta_tax,tip_amount,tolls_amount,\
    improvement_surcharge,total_amount,congestion_surcharge";

/// A month of `rows` trips.
pub(crate) struct Month {
    pub(crate) year: i16,
    pub(crate) month: i8,
    pub(crate) rows: u32,
}

impl Month {
    /// The month `index` months after 2019-01.
    pub(crate) fn nth(index: u32, rows: u32) -> Self {
        Self { year: 2019 + (index / 12) as i16, month: (index % 12 + 1) as i8, rows }
    }

    pub(crate) fn filename(&self) -> String {
        format!("yellow_tripdata_{}-{:02}.csv", self.year, self.month)
    }

    /// Writes the gzipped file below `base`, in the folder layout of a source, unless the file exists.
    pub(crate) fn write(&self, base: &Path) -> PathBuf {
        let path = base.join("yellow").join(format!("{}.gz", self.filename()));
        if !path.exists() {
            std::fs::create_dir_all(base.join("yellow")).unwrap();
            let unfinished = path.with_extension("unfinished");
            let file = BufWriter::new(File::create(&unfinished).unwrap());
            let mut encoder = GzEncoder::new(file, Compression::new(6));
            self.write_csv(&mut encoder);
            encoder.finish().unwrap().flush().unwrap();
            std::fs::rename(&unfinished, &path).unwrap();
        }
        path
    }

    /// Writes the CSV.
    pub(crate) fn write_csv(&self, out: &mut impl Write) {
        let mut random = fastrand::Rng::with_seed(
            u64::from(self.rows) << 32 | (self.year as u64) << 8 | self.month as u64,
        );
        let first = Date::new(self.year, self.month, 1).unwrap();
        let seconds = i64::from(first.days_in_month()) * 86_400;
        let block = self.rows - self.rows / 20;
        write!(out, "{HEADER}\r\n").unwrap();
        for row in 0..self.rows {
            let in_block = row >= block;
            let (nth, of) = if in_block { (row - block, self.rows - block) } else { (row, block) };
            let at = i64::from(nth) * seconds / i64::from(of);
            let start = first.at(0, 0, 0, 0);
            let pickup = match random.u32(0..200_000) {
                0 => start - 11.years(),
                1 => start - (random.i64(1..3600)).seconds(),
                2 => start + (seconds + random.i64(0..3600)).seconds(),
                _ => start + (at + random.i64(0..900)).min(seconds - 1).seconds(),
            };
            self.write_row(out, &mut random, pickup, in_block);
        }
    }

    fn write_row(&self, out: &mut impl Write, random: &mut fastrand::Rng, pickup: DateTime, in_block: bool) {
        let dropoff = pickup + random.i64(60..2700).seconds();
        let (from, to) = (random.u32(1..264), random.u32(1..264));
        let distance = Cents(random.u32(0..1200));
        let fare = 250 + 50 * random.u32(0..80);
        let tip = if random.bool() { random.u32(0..900) } else { 0 };
        let (fare, tip, total) = (Cents(fare), Cents(tip), Cents(fare + tip + 380));
        if in_block {
            write!(out, ",{},{},,{distance},,,{from},{to},,", Clock(pickup), Clock(dropoff)).unwrap();
        } else {
            let (vendor, people, pay) = (random.u8(1..3), random.u8(1..7), random.u8(1..5));
            let (pickup, dropoff) = (Clock(pickup), Clock(dropoff));
            write!(out, "{vendor},{pickup},{dropoff},{people},{distance},1,N,{from},{to},{pay},").unwrap();
        }
        write!(out, "{fare},0.5,0.5,{tip},0,0.3,{total},2.5\r\n").unwrap();
    }
}

/// An amount, formatted as in the published files: `.20`, `8`, `11.8`.
struct Cents(u32);

impl std::fmt::Display for Cents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.0 / 100, self.0 % 100) {
            (whole, 0) => write!(f, "{whole}"),
            (0, cents) => write!(f, ".{cents:02}"),
            (whole, cents) if cents % 10 == 0 => write!(f, "{whole}.{}", cents / 10),
            (whole, cents) => write!(f, "{whole}.{cents:02}"),
        }
    }
}

struct Clock(DateTime);

impl std::fmt::Display for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(at) = self;
        let (year, month, day) = (at.year(), at.month(), at.day());
        write!(f, "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}", at.hour(), at.minute(), at.second())
    }
}
