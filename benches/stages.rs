//! Measures each stage of the client alone, to locate a regression: `cargo bench --bench stages`.
//!
//! The input is a month of 100,000 rows, generated as for `side_by_side`.

#![allow(clippy::unwrap_used, reason = "a failed benchmark panics")]

#[path = "side_by_side/month.rs"]
#[expect(dead_code, reason = "the other benchmark writes files")]
mod month;

use std::io::Write as _;
use std::sync::LazyLock;

use bytes::Bytes;
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use flate2::Compression;
use flate2::write::GzEncoder;
use taxi_etl::error::Result;
use taxi_etl::extract::csv::{
    dialect::BlankLines,
    gunzip,
    records::{Record, Records},
};
use taxi_etl::extract::rows::FileColumn;
use taxi_etl::transform::duplicates::DuplicateFilter;
use taxi_etl::transform::row::{Column, Computed, Layout, RowEncoder};
use taxi_etl::transform::row_key::RowKey;
use taxi_etl::transform::value::ColumnType;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

const ROWS: u32 = 100_000;
/// Size of the byte chunks that the stages receive.
const CHUNK_SIZE_BYTES: usize = 128 * 1024;

static CSV: LazyLock<Bytes> = LazyLock::new(|| {
    let mut csv = Vec::new();
    month::Month::nth(0, ROWS).write_csv(&mut csv);
    csv.into()
});
static GZIPPED: LazyLock<Bytes> = LazyLock::new(|| {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(&CSV).unwrap();
    encoder.finish().unwrap().into()
});
static RECORDS: LazyLock<(Vec<FileColumn>, Vec<Record>)> = LazyLock::new(|| {
    RUNTIME.block_on(async {
        let mut records = Records::new(channel_of(&CSV).into(), String::new());
        let (header, mut all) = (records.header().await.unwrap(), Vec::new());
        while records.next().await.unwrap() {
            all.push(records.record().clone());
        }
        (header, all)
    })
});
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap());

fn main() {
    divan::main();
}

/// Returns a channel that holds all of `bytes` in chunks.
fn channel_of(bytes: &Bytes) -> mpsc::Receiver<Result<Bytes>> {
    let chunks = bytes.len().div_ceil(CHUNK_SIZE_BYTES);
    let (sender, receiver) = mpsc::channel(chunks);
    for chunk in bytes.chunks(CHUNK_SIZE_BYTES) {
        sender.try_send(Ok(bytes.slice_ref(chunk))).unwrap();
    }
    receiver
}

/// Decompresses the file and scans the CSV dialect. Throughput is in bytes of CSV.
#[divan::bench]
fn gunzip(bencher: Bencher<'_, '_>) {
    bencher.counter(BytesCount::new(CSV.len())).with_inputs(|| channel_of(&GZIPPED)).bench_values(
        |gzipped| {
            RUNTIME.block_on(async {
                let mut csv = gunzip::start(gzipped, String::new(), BlankLines::default());
                while let Some(chunk) = csv.chunks.recv().await {
                    divan::black_box(chunk.unwrap());
                }
            });
        },
    );
}

/// Parses bytes of CSV into records.
#[divan::bench]
fn parse(bencher: Bencher<'_, '_>) {
    bencher.counter(BytesCount::new(CSV.len())).with_inputs(|| channel_of(&CSV)).bench_values(|csv| {
        RUNTIME.block_on(async {
            let mut records = Records::new(csv.into(), String::new());
            while records.next().await.unwrap() {
                divan::black_box(records.record());
            }
        });
    });
}

/// Encodes records as rows, including their keys.
#[divan::bench]
fn encode(bencher: Bencher<'_, '_>) {
    let (header, records) = &*RECORDS;
    let mut encoder =
        RowEncoder::new(&Layout::new(columns(), computed(), "tpep_pickup_datetime"), header).unwrap();
    let mut tuples = Vec::with_capacity(2 * CSV.len() + 100 * records.len());
    bencher.counter(ItemsCount::new(records.len())).bench_local(|| {
        tuples.clear();
        for record in records {
            divan::black_box(encoder.encode(record, &mut tuples).unwrap());
        }
    });
}

/// Computes keys from values as long as those of real rows.
#[divan::bench]
fn key(bencher: Bencher<'_, '_>) {
    let parts: [&[u8]; 7] =
        [b"1", b"2019-01-01 00:46:40", b"2019-01-01 00:53:20", b"151", b"239", b"7", b"1.5"];
    bencher.counter(ItemsCount::new(ROWS)).bench(|| {
        for _ in 0..ROWS {
            divan::black_box(RowKey::of(divan::black_box(parts).into_iter()).text());
        }
    });
}

/// Adds keys to the filter that finds repeated keys.
#[divan::bench]
fn duplicate_filter(bencher: Bencher<'_, '_>) {
    let key = |row: u32| RowKey::of([&row.to_le_bytes()[..]].into_iter());
    let keys: Vec<RowKey> = (0..ROWS).map(key).collect();
    bencher.counter(ItemsCount::new(ROWS)).with_inputs(DuplicateFilter::default).bench_values(
        |mut filter| {
            keys.chunks(256).for_each(|keys| filter.add_all(keys));
            filter
        },
    );
}

fn columns() -> Vec<Column> {
    let cells = month::HEADER.split(',').map(|name| {
        let column_type = match name {
            "tpep_pickup_datetime" | "tpep_dropoff_datetime" => ColumnType::Timestamp,
            "passenger_count" | "payment_type" => ColumnType::Integer,
            "VendorID" | "RatecodeID" | "store_and_fwd_flag" | "PULocationID" | "DOLocationID" => {
                ColumnType::Text
            }
            _ => ColumnType::Double,
        };
        (name, column_type)
    });
    let computed = [("unique_row_id", ColumnType::Text), ("filename", ColumnType::Text)];
    computed
        .into_iter()
        .chain(cells)
        .map(|(name, column_type)| Column { name: name.to_lowercase(), column_type, not_null: false })
        .collect()
}

fn computed() -> Computed {
    let key_of = "VendorID,tpep_pickup_datetime,tpep_dropoff_datetime,PULocationID,DOLocationID,fare_amount,trip_distance";
    Computed {
        key_column: "unique_row_id".to_owned(),
        key_of: key_of.split(',').map(str::to_owned).collect(),
        filename_column: "filename".to_owned(),
    }
}
