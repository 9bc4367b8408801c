//! Bad input ends in an error that names the problem and its position, with its exit code, and leaves the
//! target unchanged.

use crate::support::http::{Reply, Server};
use crate::support::month::{YELLOW_HEADER, YELLOW_ROW, gzip, write};
use crate::support::{Database, SmallDisk, json, month, real_data, refusal, skipped, testdata};

const DATA: i32 = 65;
const NOT_PUBLISHED: i32 = 66;
const UNREACHABLE: i32 = 69;
const IO: i32 = 74;
const AUTHENTICATION: i32 = 77;
const CONFIGURATION: i32 = 78;
const USAGE: i32 = 64;

/// Returns a database whose target holds a month, so that an unchanged target is not an empty one.
fn loaded(name: &str) -> Database {
    let database = Database::new(name);
    json(&database.load("yellow", 2021, 1, testdata().to_str().unwrap()).output().unwrap());
    database
}

fn rows(database: &Database) -> String {
    database.value("SELECT count(*) || md5(string_agg(t::text, '' ORDER BY t::text)) FROM yellow_tripdata t")
}

/// Loads `source` as yellow 2021-02. The load must fail with `code`, print every part of `expected`, and be
/// recorded as failed.
fn refused(database: &Database, source: &str, code: i32, expected: &[&str]) {
    let before = rows(database);
    let failures = "SELECT count(*) FROM taxi_etl.runs WHERE status = 'failed'";
    let failed_before: u64 = database.value(failures).parse().unwrap();
    let error =
        refusal(&database.load("yellow", 2021, 2, source).args(["--retries", "1"]).output().unwrap(), code);
    for part in expected {
        assert!(error.contains(part), "{part:?} is missing in:\n{error}");
    }
    assert_eq!(rows(database), before, "{error}");
    if code == NOT_PUBLISHED {
        assert_eq!(
            database.value(failures),
            failed_before.to_string(),
            "a missing file is not recorded as a run"
        );
        return;
    }
    assert_eq!(database.value(failures), (failed_before + 1).to_string(), "not recorded: {error}");
    let last = database.sql("SELECT error_kind, error FROM taxi_etl.runs ORDER BY started_at DESC LIMIT 1");
    assert!(error.contains(last[0][1].lines().next().unwrap()), "{last:?}");
}

fn refused_file(database: &Database, bytes: &[u8], expected: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "yellow", "2021-02", bytes);
    let path = "yellow/yellow_tripdata_2021-02.csv.gz";
    let expected: Vec<&str> = expected.iter().copied().chain([path]).collect();
    refused(database, folder.path().to_str().unwrap(), DATA, &expected);
}

fn refused_csv(database: &Database, text: &[u8], expected: &[&str]) {
    refused_file(database, &gzip(text), expected);
}

#[test]
fn damaged_files_are_refused() {
    let database = loaded("damaged_files");
    let whole = gzip(format!("{YELLOW_HEADER}\n{YELLOW_ROW}\n").as_bytes());

    refused_file(&database, b"", &["is empty"]);
    refused_file(
        &database,
        b"<html>not found</html>",
        &["is neither gzip, CSV nor Parquet", "looks like a web page"],
    );
    refused_file(&database, &whole[..whole.len() - 12], &["is truncated"]);
    refused_file(&database, &whole[..whole.len() - 4], &["is truncated"]);
    refused_file(&database, &whole[..5], &["is truncated"]);
    let mut wrong_checksum = whole.clone();
    let offset = wrong_checksum.len() - 8;
    wrong_checksum[offset] ^= 1;
    refused_file(&database, &wrong_checksum, &["is damaged", "checksum"]);
    let garbage = [&whole[..], b"garbage behind the end"].concat();
    refused_file(&database, &garbage, &["has bytes after the end of its gzip stream"]);
    refused_csv(&database, b"", &["has no header"]);
}

#[test]
fn files_of_other_formats_are_refused_by_the_name_of_their_format() {
    let database = loaded("other_formats");
    let csv = format!("{YELLOW_HEADER}\n{YELLOW_ROW}\n");
    let utf16: Vec<u8> = csv.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let utf16 = [&b"\xff\xfe"[..], &utf16].concat();
    for (bytes, format) in [
        (b"7z\xbc\xaf\x27\x1c\0\x04".to_vec(), "a 7z archive"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:6a9e\nsize 12\n".to_vec(),
            "a Git LFS pointer",
        ),
        (b"PK\x03\x04\x14\0".to_vec(), "a zip archive"),
        (b"BZh91AY&SY".to_vec(), "a bzip2 file"),
        (b"\xfd7zXZ\0\0".to_vec(), "an xz file"),
        (b"\x28\xb5\x2f\xfd\0".to_vec(), "a zstd file"),
        (b"PAR1\x15\0".to_vec(), "is not a valid Parquet file"),
        (b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>".to_vec(), "an XML error message"),
        (b"{\"message\": \"not found\"}".to_vec(), "JSON"),
        (utf16.clone(), "UTF-16 text"),
        (gzip(&utf16), "UTF-16 text"),
        (gzip(&gzip(csv.as_bytes())), "is compressed twice"),
    ] {
        refused_file(&database, &bytes, &[format]);
    }
}

#[test]
fn invalid_rows_are_refused_with_their_line_and_column() {
    let database = loaded("bad_rows");
    let csv =
        |row: &str| format!("{YELLOW_HEADER}\r\n{YELLOW_ROW}\r\n{row}\r\n{YELLOW_ROW}\r\n").into_bytes();
    let with = |from: &str, to: &str| csv(&YELLOW_ROW.replacen(from, to, 1));

    refused_csv(&database, &csv("1,2021-0"), &["line 3: expected 18 cells as in the header, found 2"]);
    refused_csv(
        &database,
        &csv(&format!("{YELLOW_ROW},x")),
        &["line 3: expected 18 cells as in the header, found 19"],
    );
    let cut = format!("{YELLOW_HEADER}\n{YELLOW_ROW}\n{}", &YELLOW_ROW[..30]);
    refused_csv(&database, cut.as_bytes(), &["line 3: expected 18 cells as in the header, found 3"]);
    refused_csv(
        &database,
        &with(",2.10,", ",far,"),
        &["line 3: invalid value \"far\" in column \"trip_distance\"", "double precision"],
    );
    refused_csv(
        &database,
        &with(",1,2.10", ",1.5,2.10"),
        &["line 3: invalid value \"1.5\" in column \"passenger_count\""],
    );
    refused_csv(
        &database,
        &with("2021-01-01 00:30:10", "1/1/2021 0:30"),
        &["line 3: invalid value \"1/1/2021 0:30\" in column \"tpep_pickup_datetime\""],
    );
    refused_csv(&database, &with("2021-01-01 00:30:10", "2021-02-30 00:00:00"), &["line 3", "timestamp"]);
    refused_csv(
        &database,
        &with(",8,", ",1e400,"),
        &["line 3: invalid value \"1e400\" in column \"fare_amount\""],
    );
    refused_csv(
        &database,
        &with(",N,", ",\0,"),
        &["line 3: invalid value", "in column \"store_and_fwd_flag\"", "NUL"],
    );
    let mut latin1 = with(",N,", ",#,");
    let offset = latin1.iter().position(|byte| *byte == b'#').unwrap();
    latin1[offset] = 0xe9;
    refused_csv(
        &database,
        &latin1,
        &["line 3: invalid value", "in column \"store_and_fwd_flag\"", "expected UTF-8 text"],
    );
    refused_csv(&database, &csv(""), &["line 3: the line is blank"]);
    refused_csv(&database, &with(",N,", ",\"\","), &["line 3: found a quoted empty cell"]);
    refused_csv(&database, &with(",N,", ",\"N,"), &["the quoted cell has no closing quote"]);
}

#[test]
fn headers_that_do_not_match_the_table_are_refused() {
    let database = loaded("bad_headers");
    let csv = |header: &str| format!("{header}\n{YELLOW_ROW}\n").into_bytes();

    let missing = YELLOW_HEADER.replace("PULocationID,", "");
    refused_csv(
        &database,
        &csv(&missing),
        &["line 1: the row key uses the column \"PULocationID\", which the file does not have"],
    );
    refused_csv(
        &database,
        &csv(&format!(",{YELLOW_HEADER}")),
        &["line 1: unknown column \"\" at position 1"],
    );
    let repeated = YELLOW_HEADER.replace("extra", "mta_tax");
    refused_csv(&database, &csv(&repeated), &["line 1: duplicate column \"mta_tax\" at position 13"]);
    let renamed = YELLOW_HEADER.replace("fare_amount", "fare");
    refused_csv(&database, &csv(&renamed), &["line 1: unknown column \"fare\" at position 11"]);
    let computed = YELLOW_HEADER.replace("extra", "unique_row_id");
    refused_csv(
        &database,
        &csv(&computed),
        &["line 1: the column \"unique_row_id\" at position 12 has the name of a column that taxi"],
    );
}

#[test]
fn http_errors_are_reported_with_status_and_url() {
    let database = loaded("bad_web_servers");
    let answering = |reply: fn() -> Reply| Server::new(move |_| reply());
    let path = "/yellow/yellow_tripdata_2021-02.csv.gz";

    for (reply, code, expected) in [
        ((|| Reply::status(404)) as fn() -> Reply, NOT_PUBLISHED, "404"),
        (|| Reply::status(500), UNREACHABLE, "500"),
        (|| Reply::status(403), AUTHENTICATION, "403"),
        (
            || Reply { status: 403, ..Reply::ok(b"<Error><Code>AccessDenied</Code></Error>".to_vec()) },
            NOT_PUBLISHED,
            "as object stores do",
        ),
        (
            || Reply { status: 403, ..Reply::ok(b"<Error><Code>NoSuchKey</Code></Error>".to_vec()) },
            NOT_PUBLISHED,
            "as object stores do",
        ),
        (|| Reply::ok(b"<!DOCTYPE html><p>Log in".to_vec()), DATA, "is neither gzip, CSV nor Parquet"),
        (|| Reply::ok(month::yellow(3000)).announcing(1_000_000), UNREACHABLE, "was interrupted"),
        (|| Reply::ok(Vec::new()), DATA, "is empty"),
    ] {
        let server = answering(reply);
        refused(&database, &server.address, code, &[expected, &format!("{}{path}", server.address)]);
    }
    let redirect = Server::new(|_| Reply::status(302).header("Location", "http://127.0.0.1:1/x"));
    refused(&database, &redirect.address, UNREACHABLE, &["cannot reach"]);
}

#[test]
fn missing_months_and_sources_are_named() {
    let database = loaded("absent_months");
    let source = testdata();
    let source = source.to_str().unwrap();
    refused(&database, source, NOT_PUBLISHED, &["yellow_tripdata_2021-02.csv.gz"]);
    let runs = || database.value("SELECT count(*) FROM taxi_etl.runs");
    let before = runs();
    let nowhere = database.load("yellow", 2021, 2, "/nowhere/at/all").output().unwrap();
    let error = refusal(&nowhere, CONFIGURATION);
    assert!(error.contains("/nowhere/at/all is not a directory") && error.contains("--source"), "{error}");
    assert_eq!(runs(), before, "refused before the run begins");

    let usage = |taxi: &str, year, month, expected: &str| {
        let error = refusal(&database.load(taxi, year, month, source).output().unwrap(), USAGE);
        assert!(error.contains(expected), "{error}");
    };
    let error =
        refusal(&database.load("yellow", 2021, 1, "ftp://127.0.0.1").output().unwrap(), CONFIGURATION);
    assert!(error.contains("unknown URL scheme \"ftp\" in the source"), "{error}");
    usage("blue", 2021, 1, "possible values: yellow, green, fhv, fhvhv");
    usage("yellow", 2021, 13, "expected a month from 1 to 12");
}

#[test]
fn targets_with_other_columns_are_refused() {
    let database = loaded("other_columns");
    let source = testdata();
    let source = source.to_str().unwrap();
    let refused = |sql: &str, code: i32, expected: &[&str]| {
        database.sql(sql);
        let before = rows(&database);
        let error = refusal(&database.reload("yellow", 2021, 1, source).output().unwrap(), code);
        expected.iter().for_each(|part| assert!(error.contains(part), "{error}"));
        assert_eq!(rows(&database), before);
    };
    refused(
        "ALTER TABLE yellow_tripdata DROP extra, ADD extra point",
        CONFIGURATION,
        &["column extra", "point", "loads do not support"],
    );
    refused(
        "ALTER TABLE yellow_tripdata DROP extra",
        DATA,
        &["unknown column \"extra\" at position 12: no column of the table is loaded from it"],
    );
    refused(
        "ALTER TABLE yellow_tripdata ADD extra double precision, DROP filename",
        CONFIGURATION,
        &["has no column filename of type text, which the pipeline requires"],
    );
}

#[test]
fn a_full_disk_on_the_server_rolls_everything_back() {
    let Some(disk) = SmallDisk::mount("24m") else { return skipped("cannot mount a small disk") };
    // the tablespace must be the server's own directory
    let owner = ["postgres", "nobody"]
        .into_iter()
        .find_map(|name| nix::unistd::User::from_name(name).unwrap())
        .unwrap();
    nix::unistd::chown(disk.path(), Some(owner.uid), Some(owner.gid)).unwrap();
    let admin = Database::new("full_disk_admin");
    admin.sql("DROP DATABASE IF EXISTS full_disk WITH (FORCE)");
    admin.sql("DROP TABLESPACE IF EXISTS small_disk");
    admin.sql(&format!("CREATE TABLESPACE small_disk LOCATION '{}'", disk.path().display()));
    admin.sql("CREATE DATABASE full_disk TABLESPACE small_disk");
    let url = format!("{}/full_disk", admin.url.rsplit_once('/').unwrap().0);
    // a tablespace that is left behind would make every later checkpoint of the shared server fail
    let _cleanup = scopeguard(|| {
        admin.sql("DROP DATABASE full_disk WITH (FORCE)");
        admin.sql("DROP TABLESPACE small_disk");
    });
    {
        let database = Database::connect(url, "full_disk".to_owned());
        json(&database.load("yellow", 2021, 1, testdata().to_str().unwrap()).output().unwrap());
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "yellow", "2021-02", &month::yellow(150_000));
        let source = folder.path().to_str().unwrap();
        refused(
            &database,
            source,
            IO,
            &[
                "public_partitions.yellow_tripdata_2021_02",
                "SQLSTATE 53100",
                "the disk of the database server is full",
            ],
        );
    }
}

/// Runs `end` when it is dropped, also while a failed assertion unwinds.
fn scopeguard(end: impl FnMut()) -> impl Drop {
    struct Guard<F: FnMut()>(F);
    impl<F: FnMut()> Drop for Guard<F> {
        fn drop(&mut self) {
            (self.0)();
        }
    }
    Guard(end)
}

#[test]
fn real_broken_files_are_refused() {
    let Some(folder) = real_data() else { return };
    let database = loaded("real_broken");
    let broken = |name: &str| std::fs::read(folder.join("broken").join(name)).unwrap();

    refused_file(
        &database,
        &broken("yellow_cut_last_line.csv.gz"),
        &["expected 18 cells as in the header, found 2", "line 22794:"],
    );
    refused_file(
        &database,
        &broken("yellow_index_column_and_floats.csv.gz"),
        &["line 1: unknown column \"\" at position 1"],
    );
    refused_file(
        &database,
        &broken("yellow_spreadsheet_dates.csv.gz"),
        &["line 2: invalid value", "in column \"tpep_pickup_datetime\""],
    );
    // the header and the blank line are both wrong; the scan of the raw bytes is ahead of the parser
    refused_file(&database, &broken("yellow_2009_header.csv.gz"), &["line "]);

    let green = tempfile::tempdir().unwrap();
    write(green.path(), "green", "2019-10", &broken("green_truncated_gzip.csv.gz"));
    let error =
        refusal(&database.load("green", 2019, 10, green.path().to_str().unwrap()).output().unwrap(), DATA);
    assert!(error.contains("is truncated"), "{error}");
    assert_eq!(database.value("SELECT count(*) FROM green_tripdata"), "0");
}

#[test]
fn whole_decimals_without_the_index_column_load() {
    use std::io::Read as _;
    let Some(folder) = real_data() else { return };
    let database = Database::new("real_floats");
    let file = std::fs::File::open(folder.join("broken/yellow_index_column_and_floats.csv.gz")).unwrap();
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
    let without_index: String =
        text.lines().map(|line| line.split_once(',').unwrap().1.to_owned() + "\n").collect();
    let source = tempfile::tempdir().unwrap();
    write(source.path(), "yellow", "2021-07", &gzip(without_index.as_bytes()));
    let loaded = json(&database.load("yellow", 2021, 7, source.path().to_str().unwrap()).output().unwrap());
    assert_eq!(loaded["rows_inserted"], text.lines().count() - 1);
}
