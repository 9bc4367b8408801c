//! Bad input ends in an error that says what and where, with its exit code, and leaves the target as it was.

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

/// A database whose target holds a month, so that "as it was" is not just empty.
fn loaded(name: &str) -> Database {
    let database = Database::new(name);
    json(&database.load("yellow", 2021, 1, testdata().to_str().unwrap()).output().unwrap());
    database
}

fn rows(database: &Database) -> String {
    database.value("SELECT count(*) || md5(string_agg(t::text, '' ORDER BY t::text)) FROM yellow_tripdata t")
}

/// Loads `source` as yellow 2021-02: it must fail with `code`, say all of `said`, and be recorded as failed.
fn refused(database: &Database, source: &str, code: i32, said: &[&str]) {
    let before = rows(database);
    let failures = "SELECT count(*) FROM taxi_etl.runs WHERE status = 'failed'";
    let failed_before: u64 = database.value(failures).parse().unwrap();
    let error =
        refusal(&database.load("yellow", 2021, 2, source).args(["--retries", "1"]).output().unwrap(), code);
    for part in said {
        assert!(error.contains(part), "{part:?} is not said:\n{error}");
    }
    assert_eq!(rows(database), before, "{error}");
    if code == NOT_PUBLISHED {
        assert_eq!(database.value(failures), failed_before.to_string(), "what is not there is no run");
        return;
    }
    assert_eq!(database.value(failures), (failed_before + 1).to_string(), "not recorded: {error}");
    let last = database.sql("SELECT error_kind, error FROM taxi_etl.runs ORDER BY started_at DESC LIMIT 1");
    assert!(error.contains(last[0][1].lines().next().unwrap()), "{last:?}");
}

fn refused_file(database: &Database, bytes: &[u8], said: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "yellow", "2021-02", bytes);
    let path = "yellow/yellow_tripdata_2021-02.csv.gz";
    let said: Vec<&str> = said.iter().copied().chain([path]).collect();
    refused(database, folder.path().to_str().unwrap(), DATA, &said);
}

fn refused_csv(database: &Database, text: &[u8], said: &[&str]) {
    refused_file(database, &gzip(text), said);
}

#[test]
fn damaged_files_are_refused() {
    let database = loaded("damaged_files");
    let whole = gzip(format!("{YELLOW_HEADER}\n{YELLOW_ROW}\n").as_bytes());

    refused_file(&database, b"", &["is empty"]);
    refused_file(&database, b"<html>not found</html>", &["is not gzip", "looks like a web page"]);
    refused_file(&database, &whole[..whole.len() - 12], &["is cut short"]);
    refused_file(&database, &whole[..whole.len() - 4], &["is cut short"]);
    refused_file(&database, &whole[..5], &["is cut short"]);
    let mut wrong_checksum = whole.clone();
    let at = wrong_checksum.len() - 8;
    wrong_checksum[at] ^= 1;
    refused_file(&database, &wrong_checksum, &["is damaged", "checksum"]);
    let garbage = [&whole[..], b"garbage behind the end"].concat();
    refused_file(&database, &garbage, &["is damaged", "header"]);
    refused_csv(&database, b"", &["holds no header"]);
}

#[test]
fn rows_that_do_not_fit_are_refused_at_their_line_and_column() {
    let database = loaded("bad_rows");
    let csv =
        |row: &str| format!("{YELLOW_HEADER}\r\n{YELLOW_ROW}\r\n{row}\r\n{YELLOW_ROW}\r\n").into_bytes();
    let with = |from: &str, to: &str| csv(&YELLOW_ROW.replacen(from, to, 1));

    refused_csv(&database, &csv("1,2021-0"), &["line 3: has 2 cells, the header has 18"]);
    refused_csv(&database, &csv(&format!("{YELLOW_ROW},")), &["line 3: has 19 cells"]);
    let cut = format!("{YELLOW_HEADER}\n{YELLOW_ROW}\n{}", &YELLOW_ROW[..30]);
    refused_csv(&database, cut.as_bytes(), &["line 3: has 3 cells"]);
    refused_csv(
        &database,
        &with(",2.10,", ",far,"),
        &["line 3: column \"trip_distance\" is \"far\"", "double precision"],
    );
    refused_csv(&database, &with(",1,2.10", ",1.5,2.10"), &["line 3: column \"passenger_count\" is \"1.5\""]);
    refused_csv(
        &database,
        &with("2021-01-01 00:30:10", "1/1/2021 0:30"),
        &["line 3: column \"tpep_pickup_datetime\""],
    );
    refused_csv(&database, &with("2021-01-01 00:30:10", "2021-02-30 00:00:00"), &["line 3", "timestamp"]);
    refused_csv(&database, &with(",8,", ",1e400,"), &["line 3: column \"fare_amount\" is \"1e400\""]);
    refused_csv(&database, &with(",N,", ",\0,"), &["line 3: column \"store_and_fwd_flag\"", "NUL"]);
    let mut latin1 = with(",N,", ",#,");
    let at = latin1.iter().position(|byte| *byte == b'#').unwrap();
    latin1[at] = 0xe9;
    refused_csv(&database, &latin1, &["line 3: column \"store_and_fwd_flag\"", "not UTF-8"]);
    refused_csv(&database, &csv(""), &["line 3: the line is blank"]);
    refused_csv(&database, &with(",N,", ",\"\","), &["line 3: a quoted empty cell"]);
    refused_csv(&database, &with(",N,", ",\"N,"), &["the quoted cell is never closed"]);
}

#[test]
fn headers_that_are_not_the_tables_are_refused() {
    let database = loaded("bad_headers");
    let csv = |header: &str| format!("{header}\n{YELLOW_ROW}\n").into_bytes();

    let missing = YELLOW_HEADER.replace(",congestion_surcharge", "");
    refused_csv(&database, &csv(&missing), &["line 1: the header lacks the column \"congestion_surcharge\""]);
    refused_csv(&database, &csv(&format!(",{YELLOW_HEADER}")), &["line 1: the header's column 1 is \"\""]);
    let repeated = YELLOW_HEADER.replace("extra", "mta_tax");
    refused_csv(&database, &csv(&repeated), &["line 1: the header's column 13 repeats \"mta_tax\""]);
    let renamed = YELLOW_HEADER.replace("fare_amount", "fare");
    refused_csv(&database, &csv(&renamed), &["line 1: the header's column 11 is \"fare\""]);
    let computed = YELLOW_HEADER.replace("extra", "unique_row_id");
    refused_csv(&database, &csv(&computed), &["line 1: the header's column 12 is \"unique_row_id\""]);
}

#[test]
fn web_servers_that_fail_are_named_with_their_status() {
    let database = loaded("bad_web_servers");
    let answering = |reply: fn() -> Reply| Server::new(move |_| reply());
    let path = "/yellow/yellow_tripdata_2021-02.csv.gz";

    for (reply, code, said) in [
        ((|| Reply::status(404)) as fn() -> Reply, NOT_PUBLISHED, "404"),
        (|| Reply::status(500), UNREACHABLE, "500"),
        (|| Reply::status(403), AUTHENTICATION, "403"),
        (|| Reply::ok(b"<!DOCTYPE html><p>Log in".to_vec()), DATA, "is not gzip"),
        (|| Reply::ok(month::yellow(3000)).announcing(1_000_000), UNREACHABLE, "broke off"),
        (|| Reply::ok(Vec::new()), DATA, "is empty"),
    ] {
        let server = answering(reply);
        refused(&database, &server.address, code, &[said, &format!("{}{path}", server.address)]);
    }
    let nobody = Server::new(|_| Reply::status(302).header("Location", "http://127.0.0.1:1/x"));
    refused(&database, &nobody.address, UNREACHABLE, &["cannot reach"]);
}

#[test]
fn months_and_sources_that_are_not_there_are_named() {
    let database = loaded("absent_months");
    let source = testdata();
    let source = source.to_str().unwrap();
    refused(&database, source, NOT_PUBLISHED, &["yellow_tripdata_2021-02.csv.gz"]);
    refused(&database, "/nowhere/at/all", CONFIGURATION, &["/nowhere/at/all is not a directory", "--source"]);

    let usage = |taxi: &str, year, month, said: &str| {
        let error = refusal(&database.load(taxi, year, month, source).output().unwrap(), USAGE);
        assert!(error.contains(said), "{error}");
    };
    let error =
        refusal(&database.load("yellow", 2021, 1, "ftp://127.0.0.1").output().unwrap(), CONFIGURATION);
    assert!(error.contains("the source's scheme \"ftp\" is not known"), "{error}");
    usage("blue", 2021, 1, "possible values: yellow, green");
    usage("yellow", 2021, 13, "this is not a month from 1 to 12");
}

#[test]
fn targets_with_other_columns_are_refused() {
    let database = loaded("other_columns");
    let source = testdata();
    let source = source.to_str().unwrap();
    let refused = |sql: &str, code: i32, said: &[&str]| {
        database.sql(sql);
        let before = rows(&database);
        let error = refusal(&database.reload("yellow", 2021, 1, source).output().unwrap(), code);
        said.iter().for_each(|part| assert!(error.contains(part), "{error}"));
        assert_eq!(rows(&database), before);
    };
    refused(
        "ALTER TABLE yellow_tripdata ALTER extra TYPE numeric",
        CONFIGURATION,
        &["column extra", "numeric", "cannot fill"],
    );
    refused(
        "ALTER TABLE yellow_tripdata ALTER extra TYPE double precision, ADD note text",
        DATA,
        &["the header lacks the column \"note\""],
    );
    refused(
        "ALTER TABLE yellow_tripdata DROP note, DROP extra",
        DATA,
        &["column 12 is \"extra\", which the table does not have"],
    );
    refused(
        "ALTER TABLE yellow_tripdata ADD extra double precision, DROP filename",
        CONFIGURATION,
        &["has no column filename of type text, which the pipeline names"],
    );
}

#[test]
fn a_full_disk_at_the_server_rolls_everything_back() {
    let Some(disk) = SmallDisk::mount("24m") else { return skipped("no small disk can be mounted") };
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
            &["public_partitions.yellow_tripdata_2021_02", "SQLSTATE 53100", "disk is full"],
        );
    }
    admin.sql("DROP DATABASE full_disk WITH (FORCE)");
    admin.sql("DROP TABLESPACE small_disk");
}

#[test]
fn real_broken_files_are_refused_or_read_as_they_are() {
    let Some(folder) = real_data() else { return };
    let database = loaded("real_broken");
    let broken = |name: &str| std::fs::read(folder.join("broken").join(name)).unwrap();

    refused_file(
        &database,
        &broken("yellow_cut_last_line.csv.gz"),
        &["has 2 cells, the header has 18", "line 22794:"],
    );
    refused_file(
        &database,
        &broken("yellow_index_column_and_floats.csv.gz"),
        &["line 1: the header's column 1 is \"\""],
    );
    refused_file(
        &database,
        &broken("yellow_spreadsheet_dates.csv.gz"),
        &["line 2: column \"tpep_pickup_datetime\""],
    );
    // the header and the blank line are both wrong; the scan of the raw bytes is ahead of the parser
    refused_file(&database, &broken("yellow_2009_header.csv.gz"), &["line "]);

    let green = tempfile::tempdir().unwrap();
    write(green.path(), "green", "2019-10", &broken("green_truncated_gzip.csv.gz"));
    let error =
        refusal(&database.load("green", 2019, 10, green.path().to_str().unwrap()).output().unwrap(), DATA);
    assert!(error.contains("is cut short"), "{error}");
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
