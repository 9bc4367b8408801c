//! Up to `--max-rejects` invalid rows are left out, stored and counted. One more fails the load, which then
//! changes nothing.

use std::process::Output;

use crate::support::month::{YELLOW_HEADER, YELLOW_ROW, gzip, write};
use crate::support::{Database, json, refusal, taxi};

const DATA: i32 = 65;

/// Writes a month of three valid and three invalid rows.
fn write_month(folder: &std::path::Path) {
    let row_at = |time: &str| YELLOW_ROW.replacen("00:30:10", time, 1);
    let rows = [
        YELLOW_ROW.to_owned(),
        "1,2021-0".to_owned(),
        row_at("00:30:11"),
        YELLOW_ROW.replacen(",2.10,", ",\"far, far\0\",", 1),
        row_at("00:30:12"),
        YELLOW_ROW.replacen(",8,", ",eight,", 1),
    ];
    let text = format!("{YELLOW_HEADER}\r\n{}\r\n", rows.join("\r\n"));
    write(folder, "yellow", "2021-01", &gzip(text.as_bytes()));
}

fn load(database: &Database, folder: &std::path::Path, args: &[&str]) -> Output {
    database.load("yellow", 2021, 1, folder.to_str().unwrap()).args(args).output().unwrap()
}

fn show(database: &Database, run: &str, output: &str) -> Output {
    taxi(["runs", "show", run, "--output", output]).env("DATABASE_URL", &database.url).output().unwrap()
}

#[test]
fn invalid_rows_are_left_out_stored_and_counted() {
    let database = Database::new("rejects");
    let folder = tempfile::tempdir().unwrap();
    write_month(folder.path());
    let loaded = json(&load(&database, folder.path(), &["--max-rejects", "3"]));
    assert_eq!(
        (&loaded["rows_read"], &loaded["rows_staged"], &loaded["rows_rejected"], &loaded["rows_inserted"]),
        (&6.into(), &3.into(), &3.into(), &3.into())
    );
    assert_eq!(database.value("SELECT count(*) FROM yellow_tripdata"), "3");
    assert_eq!(
        database
            .sql("SELECT rows_read, rows_staged, rows_rejected, inputs ->> 'max_rejects' FROM taxi_etl.runs"),
        [["6", "3", "3", "3"]]
    );
    let rejects = database.sql(
        "SELECT filename, line, column_name, reason, raw FROM taxi_etl.rejects JOIN taxi_etl.runs USING (run_id, filename) \
         ORDER BY line",
    );
    let file = "yellow_tripdata_2021-01.csv";
    assert_eq!(rejects[0], [file, "3", "", "expected 18 cells as in the header, found 2", "1,2021-0"]);
    let far = YELLOW_ROW.replacen(",2.10,", ",\"far, far\u{fffd}\",", 1);
    assert_eq!(rejects[1], [file, "5", "trip_distance", "expected a value of type double precision", &far]);
    let eight = YELLOW_ROW.replacen(",8,", ",eight,", 1);
    assert_eq!(rejects[2], [file, "7", "fare_amount", "expected a value of type double precision", &eight]);
    assert_eq!(rejects.len(), 3);

    let run = loaded["run_id"].as_str().unwrap();
    let shown = json(&show(&database, run, "json"));
    assert_eq!(shown["rejects"].as_array().unwrap().len(), 3);
    assert_eq!(shown["rejects"][2]["column"], "fare_amount");
    let text = String::from_utf8(show(&database, run, "text").stdout).unwrap();
    assert!(text.contains("rejected rows") && text.contains(&eight), "{text}");

    // a month with rejects counts as loaded, and agrees with the ledger
    assert_eq!(json(&load(&database, folder.path(), &[]))["status"], "skipped");
    let verified = taxi(["verify", "--taxi", "yellow", "--year", "2021", "--month", "1", "--output", "json"])
        .env("DATABASE_URL", &database.url)
        .output()
        .unwrap();
    let files: serde_json::Value = serde_json::from_slice(&verified.stdout).unwrap();
    assert_eq!(
        (&files["files"][0]["rows_in_ledger"], &files["files"][0]["rows_rejected"]),
        (&3.into(), &3.into())
    );
}

#[test]
fn one_reject_more_than_allowed_fails_the_load_and_merges_nothing() {
    let database = Database::new("too_many_rejects");
    let folder = tempfile::tempdir().unwrap();
    write_month(folder.path());
    let error = refusal(&load(&database, folder.path(), &["--max-rejects", "2"]), DATA);
    assert!(error.contains("line 7: invalid value \"eight\" in column \"fare_amount\""), "{error}");
    assert!(
        error.contains("hint: 2 rows were already rejected, which is the maximum set by --max-rejects"),
        "{error}"
    );
    assert_eq!(database.value("SELECT count(*) FROM yellow_tripdata"), "0");
    assert_eq!(database.value("SELECT count(*) FROM taxi_etl.rejects"), "0");
    assert_eq!(database.value("SELECT status FROM taxi_etl.runs"), "failed");
    // by default no rejects are allowed, so the first one fails the load
    let error = refusal(&load(&database, folder.path(), &[]), DATA);
    assert!(
        error.contains("line 3: expected 18 cells as in the header, found 2") && !error.contains("hint:"),
        "{error}"
    );
}

#[test]
fn rejects_are_part_of_the_loads_transaction() {
    let database = Database::new("rejects_rolled_back");
    let folder = tempfile::tempdir().unwrap();
    write_month(folder.path());
    json(&load(&database, folder.path(), &["--max-rejects", "3"]));
    database.sql("DELETE FROM yellow_tripdata; DELETE FROM taxi_etl.runs");
    assert_eq!(
        database.value("SELECT count(*) FROM taxi_etl.rejects"),
        "0",
        "the rejects are deleted with their run"
    );
    // a failure at the commit rolls the rejects back
    database.sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no more'; END $$; \
         CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON yellow_tripdata DEFERRABLE INITIALLY DEFERRED \
             FOR EACH ROW EXECUTE FUNCTION refuse()",
    );
    let failed = load(&database, folder.path(), &["--max-rejects", "3"]);
    assert!(!failed.status.success() && String::from_utf8_lossy(&failed.stderr).contains("no more"));
    assert_eq!(database.value("SELECT count(*) FROM taxi_etl.rejects"), "0");
    assert_eq!(database.value("SELECT status FROM taxi_etl.runs"), "failed");
}
