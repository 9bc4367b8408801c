//! `taxi load FILE_OR_URL`: the name of a file says its taxi type and month.

use std::process::Command;

use crate::support::http::Server;
use crate::support::{Database, json, refusal, taxi, testdata};

const USAGE: i32 = 64;
const CONFIGURATION: i32 = 78;

fn load(database: &Database, arguments: &[&str]) -> Command {
    let mut command = taxi(["load", "--output", "json"]);
    command.args(arguments).env("DATABASE_URL", &database.url);
    command
}

#[test]
fn a_file_of_the_downloads_folder_is_the_month_that_its_name_says() {
    let database = Database::new("single_file");
    let dir = tempfile::tempdir().unwrap();
    let published = testdata().join("yellow/yellow_tripdata_2021-01.csv.gz");
    let save = |name: &str| {
        let path = dir.path().join(name);
        std::fs::copy(&published, &path).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let download = save("Yellow_tripdata_2021-01 (1).csv.gz");
    // the variable is set for other commands
    let loaded = json(&load(&database, &[&download]).env("TAXI_SOURCE", "/no/such").output().unwrap());
    assert_eq!((&loaded["taxi"], &loaded["rows_inserted"]), (&"yellow".into(), &3001.into()));
    assert_eq!(loaded["filename"], "yellow_tripdata_2021-01.csv");
    assert_eq!(json(&load(&database, &[&download]).output().unwrap())["status"], "skipped");
    assert_eq!(database.value("SELECT source_address FROM taxi_etl.runs"), download);

    // the same month from elsewhere: the rows are those of the file
    let month = ["--taxi", "yellow", "--year", "2021", "--month", "1"];
    let unnamed = save("trips.csv.gz");
    let matched = json(&load(&database, &[&[&unnamed[..]], &month[..]].concat()).output().unwrap());
    assert_eq!((&matched["rows_inserted"], &matched["rows_matched"]), (&0.into(), &3001.into()));
    let server = Server::folder(&testdata());
    let url = format!("{}/yellow/yellow_tripdata_2021-01.csv.gz?a=1", server.address);
    assert_eq!(json(&load(&database, &[&url]).output().unwrap())["rows_matched"], 3001);
    assert_eq!(server.requests(), ["/yellow/yellow_tripdata_2021-01.csv.gz?a=1"]);
    let years = database.value("SELECT count(DISTINCT filename) FROM yellow_tripdata");
    assert_eq!(years, "1");
}

#[test]
fn what_contradicts_the_file_or_is_none_is_refused_first() {
    let database = Database::new("no_single_file");
    let dir = tempfile::tempdir().unwrap();
    let save = |name: &str| {
        std::fs::write(dir.path().join(name), "").unwrap();
        dir.path().join(name).to_str().unwrap().to_owned()
    };
    let (file, unnamed, future) =
        (save("green_tripdata_2020-03.csv.gz"), save("a.csv"), save("green_tripdata_2999-01.csv"));
    let folder = dir.path().to_str().unwrap();
    let cases: [(&[&str], i32, &str); 10] = [
        (&[&file, "--source", folder], USAGE, "--source cannot be combined with the file"),
        (&[&file, "--taxi", "yellow"], USAGE, "has green trips by its name, but --taxi is yellow"),
        (
            &[&file, "--year", "2020", "--month", "4"],
            USAGE,
            "is of 2020-03 by its name, but --month is 2020-04",
        ),
        (&[&unnamed], USAGE, "hint: use --taxi, --year and --month"),
        (&[&unnamed, "--taxi", "green"], USAGE, "the name a.csv does not say the taxi type and the month"),
        (&[&future], USAGE, "no taxi trips in 2999-01"),
        (&[folder], CONFIGURATION, "is a directory"),
        (&["/no/such.csv"], CONFIGURATION, "the file /no/such.csv does not exist"),
        (
            &["yellow", "--year", "2021", "--month", "1"],
            CONFIGURATION,
            "hint: use --taxi, --year and --month to load a month",
        ),
        (&["http://127.0.0.1:1/download?token=secret"], CONFIGURATION, "does not end like that of a file"),
    ];
    for (arguments, code, part) in cases {
        let error = refusal(&load(&database, arguments).output().unwrap(), code);
        assert!(error.contains(part) && !error.contains("secret"), "{arguments:?}: {error}");
    }
    assert_eq!(database.value("SELECT to_regnamespace('taxi_etl') IS NULL"), "t");
}
