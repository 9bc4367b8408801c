//! Where the files of months come from: named sources, directories in every layout, addresses, and lists of them.

use std::path::Path;

use serde_json::Value;

use crate::support::http::{Reply, Server};
use crate::support::month::{gzip, yellow_csv};
use crate::support::{Database, json, refusal, taxi, testdata};

const NOT_PUBLISHED: i32 = 66;
const CONFIGURATION: i32 = 78;
/// What S3 and its kind answer for an object that does not exist, if the bucket may not be listed.
const NO_SUCH_OBJECT: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";

fn backfill(database: &Database, to: &str, source: &str, options: &[&str]) -> std::process::Command {
    let mut command =
        taxi(["backfill", "--output", "json", "--taxi", "yellow", "--from", "2021-01", "--to", to]);
    command.args(["--source", source]).args(options).env("DATABASE_URL", &database.url);
    command
}

/// The name and the status of each file of a result.
fn files(result: &Value) -> Vec<[String; 2]> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let status = |file: &Value| text(file.get("status").unwrap_or_else(|| &file["action"]));
    result["files"].as_array().unwrap().iter().map(|file| [text(&file["filename"]), status(file)]).collect()
}

fn parsed(output: &std::process::Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

fn csv(month: &str) -> Vec<u8> {
    yellow_csv(20, month).into_bytes()
}

#[test]
fn a_directory_holds_files_in_every_layout() {
    let database = Database::new("layouts");
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &str, content: Vec<u8>| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    };
    write("yellow/yellow_tripdata_2021-01.csv.gz", gzip(&csv("2021-01")));
    // the first layout counts
    write("yellow_tripdata_2021-01.csv", b"not read".to_vec());
    write("yellow/yellow_tripdata_2021-02.csv", csv("2021-02"));
    write("yellow_tripdata_2021-03.csv.gz", gzip(&csv("2021-03")));
    write("yellow_tripdata_2021-04.csv", csv("2021-04"));
    let output = backfill(&database, "2021-05", dir.path().to_str().unwrap(), &[]).output().unwrap();
    let error = refusal(&output, NOT_PUBLISHED);
    let name = |month| format!("yellow_tripdata_2021-{month}.csv");
    let expected =
        [("01", "loaded"), ("02", "loaded"), ("03", "loaded"), ("04", "loaded"), ("05", "not_published")];
    assert_eq!(files(&parsed(&output)), expected.map(|(month, status)| [name(month), status.to_owned()]));
    assert!(error.contains("yellow/yellow_tripdata_2021-05.csv.gz"), "{error}");
    let source: String =
        database.value("SELECT source_address FROM taxi_etl.runs WHERE filename LIKE '%04.csv'");
    assert_eq!(Path::new(&source), dir.path().join("yellow_tripdata_2021-04.csv"));
    let output = database.load("yellow", 2021, 5, dir.path().to_str().unwrap()).output().unwrap();
    assert!(
        refusal(&output, NOT_PUBLISHED)
            .contains("hint: in a directory, a file can be .csv.gz, .csv or .parquet")
    );
}

#[test]
fn a_range_runs_from_one_source_into_the_next() {
    let database = Database::new("source_list");
    let serve = |name: &'static str, missing: fn() -> Reply| {
        Server::answering(move |request| match request.path.as_str() == name {
            true if request.header("If-None-Match").is_some() => {
                Reply { body: Vec::new(), ..Reply::status(304) }.header("ETag", "\"a\"")
            }
            true => Reply::ok(gzip(&csv(&name[name.len() - 14..name.len() - 7]))).header("ETag", "\"a\""),
            false => missing(),
        })
    };
    let first = serve("/yellow/yellow_tripdata_2021-01.csv.gz", || Reply::status(404));
    let second = serve("/trips/yellow_2021-02.csv.gz", || Reply {
        status: 403,
        ..Reply::ok(NO_SUCH_OBJECT.as_bytes().to_vec())
    });
    let source = format!("{},{}/trips/{{taxi}}_{{year}}-{{month}}.csv.gz", first.address, second.address);
    let traffic = || {
        let of = |server: &Server| {
            let (requests, _) = server.take_traffic();
            requests
                .into_iter()
                .map(|request| format!("{} {}", request.method, &request.path[request.path.len() - 14..]))
                .collect::<Vec<_>>()
        };
        (of(&first), of(&second))
    };
    let name = |month: &str| format!("yellow_tripdata_2021-{month}.csv");
    let is = |files: &[[String; 2]], statuses: [&str; 3]| {
        let expected: Vec<_> = std::iter::zip(["01", "02", "03"], statuses)
            .map(|(month, status)| [name(month), status.to_owned()])
            .collect();
        assert_eq!(files, expected);
    };

    let planned = json(&backfill(&database, "2021-03", &source, &["--plan"]).output().unwrap());
    is(&files(&planned), ["load", "load", "not_published"]);
    traffic();
    let output = backfill(&database, "2021-03", &source, &[]).output().unwrap();
    let error = refusal(&output, NOT_PUBLISHED);
    is(&files(&parsed(&output)), ["loaded", "loaded", "not_published"]);
    assert!(error.contains("yellow_2021-03.csv.gz returned 403 Forbidden, as object stores do"), "{error}");
    assert!(
        error
            .contains(&format!("none of the sources {}/, {}/trips/{{taxi}}_", first.address, second.address)),
        "{error}"
    );
    let (asked_first, asked_second) = traffic();
    assert_eq!(
        asked_first,
        ["HEAD 2021-01.csv.gz", "GET 2021-01.csv.gz", "HEAD 2021-02.csv.gz", "HEAD 2021-03.csv.gz"]
    );
    assert_eq!(asked_second, ["GET 2021-02.csv.gz", "GET 2021-03.csv.gz"]);

    let output = backfill(&database, "2021-03", &source, &[]).output().unwrap();
    is(&files(&parsed(&output)), ["skipped", "skipped", "not_published"]);
    traffic();
    // files that are loaded are not asked for
    json(&backfill(&database, "2021-02", &source, &["--if-loaded", "skip"]).output().unwrap());
    assert_eq!(traffic(), (vec![], vec![]));
}

#[test]
fn a_source_that_cannot_hold_months_is_refused_first() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("yellow_tripdata_2021-01.csv.gz");
    std::fs::write(&file, "").unwrap();
    for (source, parts) in [
        ("tcl", ["the source tcl is not a directory", "or to course or tlc"]),
        ("course,/no/such", ["the source /no/such is not a directory", "hint"]),
        (file.to_str().unwrap(), ["is a file", "use 'taxi load FILE' to load a single file"]),
        ("http://u:secret@h/{year}.parquet", ["the source http://h/", "has braces, but not {month}"]),
    ] {
        let mut command =
            taxi(["load", "--taxi", "yellow", "--year", "2021", "--month", "1", "--source", source]);
        let error = refusal(
            &command.env("DATABASE_URL", "postgresql://127.0.0.1:1/x").output().unwrap(),
            CONFIGURATION,
        );
        assert!(
            parts.iter().all(|part| error.contains(part)) && !error.contains("secret"),
            "{source}: {error}"
        );
    }
}

#[test]
fn a_parquet_month_is_verified_and_dropped_under_its_own_name() {
    let database = Database::new("parquet_source");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("green_tripdata_2020-03.parquet");
    std::fs::copy(testdata().join("parquet/same/plain.parquet"), &file).unwrap();
    let loaded = json(&database.load("green", 2020, 3, dir.path().to_str().unwrap()).output().unwrap());
    let name = "green_tripdata_2020-03.parquet";
    assert_eq!((&loaded["filename"], &loaded["rows_inserted"]), (&name.into(), &120.into()));
    // the file on its own is the same file
    let mut again = taxi(["load", "--output", "json", file.to_str().unwrap()]);
    assert_eq!(json(&again.env("DATABASE_URL", &database.url).output().unwrap())["status"], "skipped");
    let run = |command: &str| {
        let mut command =
            taxi([command, "--taxi", "green", "--year", "2020", "--month", "3", "--output", "json"]);
        command.env("DATABASE_URL", &database.url);
        command
    };
    // the published count is that of the CSV
    let verified = json(&run("verify").output().unwrap());
    assert_eq!(verified["files"].as_array().unwrap().len(), 1, "{verified}");
    assert_eq!(
        (&verified["files"][0]["filename"], &verified["files"][0]["verdict"]),
        (&name.into(), &"agrees".into())
    );
    let dropped = json(&run("drop").arg("--yes").output().unwrap());
    assert_eq!(
        (&dropped["files"][0]["filename"], &dropped["files"][0]["rows"]),
        (&name.into(), &120.into()),
        "{dropped}"
    );
    assert_eq!(database.value("SELECT count(*) FROM green_tripdata"), "0");
}
