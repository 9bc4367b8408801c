//! Parquet files: the same rows in every form that programs write, values that do not fit, other columns, damaged files,
//! and the agency's own files.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use taxi_etl::extract::csv::dialect::BlankLines;
use taxi_etl::extract::csv::gunzip;
use taxi_etl::extract::csv::records::Records;
use taxi_etl::extract::parquet::rows::ParquetRows;
use taxi_etl::extract::rows::FileColumn;
use taxi_etl::transform::row::{Column, Computed, Layout, RowEncoder};
use taxi_etl::transform::value::ColumnType;
use tokio::runtime::Runtime;

use crate::support::http::{Reply, Server};
use crate::support::{Database, json, real_data, refusal, taxi, testdata};

const DATA: i32 = 65;
const CONFIGURATION: i32 = 78;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// The columns of the green table, as its SQL file declares them.
fn green_columns() -> Vec<Column> {
    let sql = std::fs::read_to_string(testdata().join("../sql/tables/green_tripdata.sql")).unwrap();
    let types = |name: &str| match name {
        "text" => ColumnType::Text,
        "timestamp" => ColumnType::Timestamp,
        "integer" => ColumnType::Integer,
        _ => ColumnType::Double,
    };
    let lines = sql.lines().filter_map(|line| line.strip_prefix("    ")?.split_once(' '));
    lines
        .map(|(name, rest)| Column {
            name: name.to_owned(),
            column_type: types(rest.trim().trim_end_matches(',')),
            not_null: false,
        })
        .collect()
}

fn encoder(file: &[FileColumn]) -> RowEncoder {
    let key_of = "VendorID lpep_pickup_datetime lpep_dropoff_datetime PULocationID DOLocationID fare_amount trip_distance";
    let computed = Computed {
        key_column: "unique_row_id".to_owned(),
        key_of: key_of.split(' ').map(str::to_owned).collect(),
        filename_column: "filename".to_owned(),
    };
    RowEncoder::new(&Layout::new(green_columns(), computed, "lpep_pickup_datetime"), file).unwrap()
}

/// Encodes the rows of a CSV.
fn encoded_csv(path: &Path) -> Vec<u8> {
    RUNTIME.block_on(async {
        let (sender, compressed) = tokio::sync::mpsc::channel(1);
        sender.send(Ok(Bytes::from(std::fs::read(path).unwrap()))).await.unwrap();
        drop(sender);
        let csv = gunzip::start(compressed, "rows.csv.gz".to_owned(), BlankLines::Refuse);
        let mut records = Records::new(csv, "rows.csv.gz".to_owned());
        let mut encoder = encoder(&records.header().await.unwrap());
        let mut tuples = Vec::new();
        while records.next().await.unwrap() {
            encoder.encode(records.record(), &mut tuples).unwrap();
        }
        tuples
    })
}

/// Encodes the rows of a Parquet file up to the first error: that of a row with its number, or that of the file.
fn encoded(file: Bytes, name: &str) -> Result<Vec<u8>, String> {
    RUNTIME.block_on(async {
        let (columns, mut rows) = ParquetRows::of_bytes(file, name).map_err(|error| error.to_string())?;
        let mut encoder = encoder(&columns);
        let (mut tuples, mut number) = (Vec::new(), 0);
        while rows.next().await.map_err(|error| error.to_string())? {
            number += 1;
            encoder.encode(rows.current(), &mut tuples).map_err(|error| format!("row {number}: {error}"))?;
        }
        Ok(tuples)
    })
}

fn files(folder: &str) -> Vec<(String, Bytes)> {
    let folder = testdata().join("parquet").join(folder);
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|form| form == "parquet")).collect();
    paths.sort();
    let file = |path: PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, std::fs::read(path).unwrap().into())
    };
    paths.into_iter().map(file).collect()
}

#[test]
fn the_same_rows_give_the_same_tuples_in_every_form() {
    let expected = encoded_csv(&testdata().join("parquet/same/rows.csv.gz"));
    let files = files("same");
    assert!(files.len() > 15, "{} files", files.len());
    for (name, file) in files {
        assert!(encoded(file, &name).unwrap() == expected, "{name} has other values or keys than the CSV");
    }
}

#[test]
fn a_value_that_does_not_fit_exactly_is_refused_with_row_and_column() {
    let passengers = "in column \"passenger_count\": expected a value of type integer";
    let dropoff = "in column \"lpep_dropoff_datetime\": the time is";
    let expected = [
        ("far_future", "row 3: invalid value \"1000000000000000\"", dropoff),
        ("fraction", "row 3: invalid value \"1.5\"", passengers),
        (
            "half_a_number",
            "row 1: invalid value \"1.0\"",
            "in column \"vendorid\": expected a value of type text",
        ),
        ("instants", "row 1: invalid value \"2020-03-01", "the file's times are points in time (UTC)"),
        ("large", "row 3: invalid value \"2147483648\"", passengers),
        ("large_double", "row 3: invalid value \"1e+19\"", "in column \"payment_type\""),
        ("long_text", "row 3: invalid value \"1048577 bytes\"", "the text is longer than 1 MiB"),
        ("nanosecond", "row 3: invalid value \"158", "the time is not a whole number of microseconds"),
        ("not_a_number", "row 3: invalid value \"NaN\"", passengers),
        ("not_utf8", "row 3: invalid value", "in column \"store_and_fwd_flag\": expected UTF-8 text"),
        ("nul_byte", "row 3: invalid value", "a text column cannot store a NUL byte"),
        ("unsigned", "row 3: invalid value \"18446744073709551615\"", "the number is larger than"),
        (
            "word",
            "row 3: invalid value \"free\"",
            "in column \"fare_amount\": expected a value of type double",
        ),
    ];
    for (name, file) in files("wrong") {
        let Some((_, row, reason)) = expected.iter().find(|(expected, ..)| *expected == name) else {
            // the whole column has a type that no column can hold; a load refuses the file
            assert!(["nested", "time_of_day"].contains(&name.as_str()), "{name} is not expected");
            continue;
        };
        let error = encoded(file, &name).unwrap_err();
        assert!(error.contains(row) && error.contains(reason), "{name}: {error}");
    }
}

/// Puts a Parquet file where `taxi load` looks for a month. Its first bytes say what it is, not its name.
fn month(folder: &Path, month: &str, file: &Path) {
    let path = folder.join(format!("green/green_tripdata_{month}.csv.gz"));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let _ = std::fs::remove_file(&path);
    std::os::unix::fs::symlink(file, path).unwrap();
}

fn test_file(name: &str) -> PathBuf {
    testdata().join(format!("parquet/{name}.parquet"))
}

/// Loads the file as green 2020-03.
fn load(database: &Database, name: &str, options: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    month(folder.path(), "2020-03", &test_file(name));
    let mut load = database.load("green", 2020, 3, folder.path().to_str().unwrap());
    load.args(options).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A plain table with the columns of the course.
fn plain(name: &str) -> Database {
    let database = Database::new(name);
    let sql = std::fs::read_to_string(testdata().join("../sql/tables/green_tripdata.sql")).unwrap();
    let (columns, _) = sql.split_once('(').map(|(_, rest)| rest.rsplit_once(") PARTITION").unwrap()).unwrap();
    database.sql(&format!("CREATE TABLE green_tripdata ({columns})"));
    database
}

#[test]
fn rejects_and_refusals_name_the_row() {
    let database = Database::new("parquet_rejects");
    let error = refusal(&load(&database, "wrong/fraction", &[]), DATA);
    assert!(error.contains("green_tripdata_2020-03.csv.gz, row 3: invalid value \"1.5\""), "{error}");
    let loaded = json(&load(&database, "wrong/fraction", &["--max-rejects", "1"]));
    assert_eq!((&loaded["rows_inserted"], &loaded["rows_rejected"]), (&4.into(), &1.into()));
    let rejected = database.sql("SELECT line, column_name, raw LIKE '1,2020-%,N,%' FROM taxi_etl.rejects");
    assert_eq!(rejected[0][..2], ["3", "passenger_count"], "{rejected:?}");
    for (name, reason) in [
        ("nested", "the column \"passenger_count\" has a type that loads do not support"),
        ("time_of_day", "the column \"payment_type\" has a type that loads do not support"),
    ] {
        let error = refusal(&load(&database, &format!("wrong/{name}"), &["--force"]), DATA);
        assert!(error.contains(reason), "{name}: {error}");
    }
    let error = refusal(&load(&database, "more/no_zones", &["--force"]), DATA);
    assert!(error.contains("the row key uses the column \"PULocationID\""), "{error}");
    let empty = json(&load(&database, "more/no_rows", &["--force"]));
    assert_eq!((&empty["status"], &empty["rows_read"]), (&"loaded".into(), &0.into()));
}

#[test]
fn columns_that_the_agency_added_later_are_added_to_tables_of_taxi_only() {
    let made_by_taxi = Database::new("parquet_columns");
    let added = load(&made_by_taxi, "more/fee", &[]);
    assert_eq!(json(&added)["rows_inserted"], 5);
    assert!(
        stderr(&added).contains("added columns to public.green_tripdata: cbd_congestion_fee"),
        "{added:?}"
    );
    let values =
        "SELECT pg_typeof(cbd_congestion_fee), sum(cbd_congestion_fee) FROM green_tripdata GROUP BY 1";
    assert_eq!(made_by_taxi.sql(values), [["double precision", "3.75"]]);
    let ledger = "SELECT new_columns FROM taxi_etl.runs ORDER BY sequence DESC LIMIT 1";
    assert_eq!(
        made_by_taxi.value(ledger),
        r#"[{"type": "double precision", "action": "added", "column": "cbd_congestion_fee", "reason": null}]"#
    );
    let run = json(&added)["run_id"].as_str().unwrap().to_owned();
    let show = taxi(["runs", "show", &run, "--database-url", &made_by_taxi.url]).output().unwrap();
    let show = String::from_utf8_lossy(&show.stdout).into_owned();
    assert!(show.contains("cbd_congestion_fee added as double precision"), "{show}");
    // the pipeline does not know the index of pandas
    let error = refusal(&load(&made_by_taxi, "more/fee_and_index", &["--force"]), DATA);
    assert!(error.contains("unknown column \"__index_level_0__\" at position 22"), "{error}");
    json(&load(&made_by_taxi, "more/fee_and_index", &["--force", "--new-columns", "ignore"]));
    let without_values = load(&made_by_taxi, "more/without_values", &["--force"]);
    json(&without_values);
    assert!(stderr(&without_values).contains("airport_note (it has no values)"), "{without_values:?}");

    let plain = plain("parquet_columns_plain");
    let error = refusal(&load(&plain, "more/fee", &["--new-columns", "refuse"]), DATA);
    assert!(error.contains("unknown column \"cbd_congestion_fee\" at position 21"), "{error}");
    let left_out = load(&plain, "more/fee", &[]);
    assert_eq!(json(&left_out)["rows_inserted"], 5);
    assert!(
        stderr(&left_out).contains("cbd_congestion_fee (the table is not one that taxi made)"),
        "{left_out:?}"
    );
    assert!(plain.value(ledger).contains("left_out"));
    json(&load(&plain, "more/fee", &["--force", "--if-loaded", "replace", "--new-columns", "add"]));
    assert_eq!(plain.sql(values), [["double precision", "3.75"]]);
}

/// Runs a flow that loads the file as the Parquet form of green 2020-03.
fn run_flow(database: &Database, name: &str, task_type: &str, columns: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let flow = folder.path().join("flow.yaml");
    let text = format!(
        "id: parquet\nnamespace: taxi.tests\ntasks:\n  \
         - {{id: table, type: taxi.postgresql.CreateTables, sql: green_tripdata.sql, table: public.green_tripdata}}\n  \
         - {{id: load, type: {task_type}, from: '{}', table: public.green_tripdata, timeColumn: lpep_pickup_datetime, \
         period: 2020-03, filename: green_tripdata_2020-03.parquet, filenameColumn: filename, \
         rowKeyColumn: unique_row_id, rowKey: [VendorID, lpep_pickup_datetime, lpep_dropoff_datetime, PULocationID, \
         DOLocationID, fare_amount, trip_distance], columns: {columns}}}\n",
        test_file(name).display()
    );
    std::fs::write(&flow, text).unwrap();
    taxi(["run", flow.to_str().unwrap()]).env("DATABASE_URL", &database.url).output().unwrap()
}

#[test]
fn the_other_form_of_a_month_is_refused_until_it_replaces_the_rows() {
    let database = Database::new("parquet_other_form");
    let source = testdata();
    let source = source.to_str().unwrap();
    json(&database.load("green", 2020, 3, source).output().unwrap());
    let files = "SELECT filename, count(*) FROM green_tripdata GROUP BY 1";
    let csv = database.sql(files);
    let refused = run_flow(&database, "same/since_2023", "taxi.postgresql.Load", "{}");
    let error = refusal(&refused, CONFIGURATION);
    assert!(error.contains("public.green_tripdata holds the month as green_tripdata_2020-03.csv"), "{error}");
    assert!(error.contains("--if-loaded replace"), "{error}");
    assert_eq!(database.sql(files), csv);
    // the other way round, without a record of the load
    let other = Database::new("parquet_other_form_back");
    let run = run_flow(&other, "same/since_2023", "taxi.postgresql.Load", "{}");
    assert!(run.status.success(), "{run:?}");
    other.sql("DROP SCHEMA taxi_etl CASCADE");
    let error = refusal(&other.load("green", 2020, 3, source).output().unwrap(), CONFIGURATION);
    assert!(error.contains("holds the month as green_tripdata_2020-03.parquet"), "{error}");
    let mut swap = other.load("green", 2020, 3, source);
    let swapped = json(&swap.args(["--if-loaded", "replace"]).output().unwrap());
    assert_eq!(swapped["rows_deleted"], 120);
    assert_eq!(other.sql(files), csv);
}

#[test]
fn a_swap_marks_the_replaced_form_as_dropped() {
    let database = Database::new("parquet_swap");
    let run = run_flow(&database, "same/since_2023", "taxi.postgresql.Load", "{}");
    assert!(run.status.success(), "{run:?}");
    let mut swap = database.load("green", 2020, 3, testdata().to_str().unwrap());
    json(&swap.args(["--if-loaded", "replace"]).output().unwrap());
    let dropped = "SELECT filename, dropped_at IS NOT NULL FROM taxi_etl.runs WHERE filename IS NOT NULL ORDER BY sequence";
    let expected = [["green_tripdata_2020-03.parquet", "t"], ["green_tripdata_2020-03.csv", "f"]];
    assert_eq!(database.sql(dropped), expected);
}

#[test]
fn a_flow_maps_the_names_of_old_files_under_the_former_name_of_the_task_too() {
    let database = Database::new("parquet_names");
    let columns = "{Trip_Pickup_DateTime: lpep_pickup_datetime, Trip_Dropoff_DateTime: lpep_dropoff_datetime, \
                   vendor_name: VendorID, Fare_Amt: fare_amount, Tip_Amt: tip_amount, Tolls_Amt: tolls_amount, \
                   Total_Amt: total_amount, Rate_Code: RatecodeID, store_and_forward: store_and_fwd_flag}";
    let run = run_flow(&database, "more/names_of_2009", "taxi.postgresql.LoadCsv", columns);
    assert!(run.status.success(), "{run:?}");
    let row =
        "SELECT count(*), min(lpep_pickup_datetime), count(fare_amount), count(extra) FROM green_tripdata";
    assert_eq!(database.sql(row)[0][0], "5");
    assert_eq!(database.sql(row)[0][2..], ["5", "0"]);
}

#[test]
fn a_broken_download_is_resumed_and_leaves_no_file() {
    let database = Database::new("parquet_http");
    let content = std::fs::read(test_file("same/row_groups")).unwrap();
    let requests = AtomicUsize::new(0);
    let server = Server::answering(move |request| {
        let reply = Reply::ranged(&content, "\"1\"", request);
        match requests.fetch_add(1, Ordering::Relaxed) {
            0 => reply.cut_at(20_000),
            _ => reply,
        }
    });
    let temporary = tempfile::tempdir().unwrap();
    let mut load = database.load("green", 2020, 3, &server.address);
    let loaded = load.env("TMPDIR", temporary.path()).output().unwrap();
    assert_eq!(json(&loaded)["rows_inserted"], 120);
    assert!(stderr(&loaded).contains("resuming at byte"), "{loaded:?}");
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
    let nowhere = temporary.path().join("missing");
    let mut again = database.reload("green", 2020, 3, &server.address);
    let error = refusal(&again.env("TMPDIR", nowhere).output().unwrap(), 74);
    assert!(error.contains("to a temporary file in") && error.contains("set TMPDIR"), "{error}");
}

#[test]
fn damaged_files_are_refused_by_name() {
    let database = Database::new("parquet_damaged");
    let folder = tempfile::tempdir().unwrap();
    let file = std::fs::read(test_file("same/since_2023")).unwrap();
    let with_end = |end: &[u8]| [&file[..file.len() - end.len()], end].concat();
    let bad = folder.path().join("bad.parquet");
    for (damaged, reason) in [
        (file[..file.len() / 2].to_vec(), "it does not end as a Parquet file"),
        (b"PAR1".to_vec(), "it is shorter than any Parquet file"),
        (with_end(b"\xff\xff\xff\xffPAR1"), "its footer is longer than the file"),
        (with_end(b"\x10\0\0\0PAR1"), "its footer"),
        (with_end(b"PARE"), "is an encrypted Parquet file"),
    ] {
        std::fs::write(&bad, damaged).unwrap();
        month(folder.path(), "2020-03", &bad);
        let mut load = database.load("green", 2020, 3, folder.path().to_str().unwrap());
        let error = refusal(&load.output().unwrap(), DATA);
        assert!(
            error.contains("green_tripdata_2020-03.csv.gz") && error.contains(reason),
            "{reason}: {error}"
        );
    }
}

/// Every byte of a footer, and many of the pages, with other values: the reader ends with the rows or with an error.
#[test]
fn no_change_of_a_byte_makes_the_reader_hang() {
    let whole = encoded_csv(&testdata().join("parquet/same/rows.csv.gz")).len();
    let (mut runs, mut refused) = (0, 0);
    for name in ["same/since_2023", "same/page_v2", "same/delta"] {
        let file = std::fs::read(test_file(name)).unwrap();
        let footer =
            file.len() - 8 - u32::from_le_bytes(*file[..file.len() - 4].last_chunk().unwrap()) as usize;
        let places = (footer..file.len()).step_by(11).chain((4..footer).step_by(37));
        for (place, value) in places.zip([0x00, 0xff, 0x80, 0x15].into_iter().cycle()) {
            let mut changed = file.clone();
            changed[place] = value;
            runs += 1;
            let outcome = RUNTIME.block_on(async {
                let (_, mut rows) = ParquetRows::of_bytes(changed.into(), "changed").ok()?;
                let mut count = 0;
                while rows.next().await.ok()? {
                    count += 1;
                }
                Some(count)
            });
            refused += u32::from(outcome.is_none());
            assert!(outcome.is_none_or(|rows| rows <= whole), "{name}, byte {place}");
        }
    }
    assert!(refused > runs / 10, "only {refused} of {runs} damaged files were refused");
}

/// Counts and digests of a file's rows as in `oracle.tsv`: of the course's columns, with the name of the Parquet file.
fn digest(database: &Database, filename: &str, parquet: &str) -> Vec<String> {
    let columns: Vec<String> = green_columns().into_iter().map(|column| column.name).collect();
    let columns = columns.join(", ").replace("filename", &format!("'{parquet}'"));
    let query = format!(
        "SELECT count(*), count(DISTINCT unique_row_id), \
             md5(string_agg(unique_row_id, '' ORDER BY unique_row_id COLLATE \"C\")), \
             md5(string_agg(row, E'\\n' ORDER BY row COLLATE \"C\")) \
         FROM (SELECT unique_row_id, ROW({columns})::text AS row FROM green_tripdata WHERE filename = '{filename}') AS t"
    );
    database.sql(&query).remove(0)
}

#[test]
fn the_agencys_files_are_loaded_as_their_oracle_says() {
    let Some(real) = real_data() else { return };
    let oracle = std::fs::read_to_string(real.join("parquet/oracle.tsv")).unwrap();
    let (months, plain) = (Database::new("parquet_real"), plain("parquet_real_plain"));
    for (number, line) in oracle.lines().skip(1).enumerate() {
        let cells: Vec<&str> = line.split('\t').collect();
        let file = real.join(cells[0]);
        let parquet = file.file_name().unwrap().to_str().unwrap();
        let month_text = &parquet[parquet.len() - "2020-12.parquet".len()..parquet.len() - ".parquet".len()];
        let (year, number_of_month) = month_text.split_once('-').unwrap();
        let folder = tempfile::tempdir().unwrap();
        month(folder.path(), month_text, &file);
        let filename = format!("green_tripdata_{month_text}.csv");
        // one file of a month at a time: 2021-01 is there as published and as pandas wrote it
        let is_odd = cells[0].contains("odd");
        let databases = if number % 4 == 0 { vec![&months, &plain] } else { vec![&months] };
        for database in databases {
            let load = |options: &[&str]| {
                let (year, month) = (year.parse().unwrap(), number_of_month.parse().unwrap());
                let mut load = database.load("green", year, month, folder.path().to_str().unwrap());
                load.args(["--new-columns", "ignore", "--if-loaded", "replace"]).args(options);
                json(&load.output().unwrap())
            };
            if is_odd {
                database.sql(&format!("DELETE FROM green_tripdata WHERE filename = '{filename}'"));
            }
            load(&[]);
            assert_eq!(digest(database, &filename, parquet), cells[1..], "{}", cells[0]);
            // the second time, it changes nothing
            assert_eq!(load(&[])["status"], "skipped");
        }
        if number % 4 > 0 {
            continue;
        }
        let mut merge = months.reload(
            "green",
            year.parse().unwrap(),
            number_of_month.parse().unwrap(),
            folder.path().to_str().unwrap(),
        );
        let merged = json(&merge.args(["--new-columns", "ignore"]).output().unwrap());
        assert_eq!(merged["rows_inserted"], 0, "{}", cells[0]);
    }
    let error = refusal(
        &{
            let folder = tempfile::tempdir().unwrap();
            month(folder.path(), "2022-01", &real.join("parquet/odd/five_columns.parquet"));
            months.reload("green", 2022, 1, folder.path().to_str().unwrap()).output().unwrap()
        },
        DATA,
    );
    assert!(error.contains("the row key uses the column \"VendorID\""), "{error}");
}
