//! The ledger records every run in full, is upgraded from older versions, and knows what the target holds.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::http::{Reply, Server};
use crate::support::month::{gzip, write, yellow_csv};
use crate::support::{Database, OwnServer, json, refusal, testdata, wait_until};

fn taxi(database: &Database, args: &[&str]) -> Command {
    let mut command = crate::support::taxi(args);
    command.env("DATABASE_URL", &database.url);
    command
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn runs_are_listed_and_shown_in_full() {
    let database = Database::new("history");
    let none = json(&taxi(&database, &["runs", "--output", "json"]).output().unwrap());
    assert_eq!(none["runs"], Value::Array(Vec::new()));
    let source = testdata();
    let source = source.to_str().unwrap();
    let loaded = json(&database.load("yellow", 2021, 1, source).output().unwrap());
    json(&database.load("green", 2020, 3, source).output().unwrap());
    let broken = tempfile::tempdir().unwrap();
    write(broken.path(), "yellow", "2021-02", b"<html>");
    refusal(&database.load("yellow", 2021, 2, broken.path().to_str().unwrap()).output().unwrap(), 65);

    let list = |args: &[&str]| -> Vec<Value> {
        let all = [&["runs", "--output", "json"], args].concat();
        json(&taxi(&database, &all).output().unwrap())["runs"].as_array().unwrap().clone()
    };
    let files = |args: &[&str]| -> Vec<String> {
        list(args).iter().map(|run| run["filename"].as_str().unwrap().to_owned()).collect()
    };
    let [yellow_2, green, yellow_1] =
        ["yellow_tripdata_2021-02.csv", "green_tripdata_2020-03.csv", "yellow_tripdata_2021-01.csv"];
    assert_eq!(files(&[]), [yellow_2, green, yellow_1], "the latest first");
    assert_eq!(files(&["--taxi", "yellow"]), [yellow_2, yellow_1]);
    assert_eq!(files(&["--status", "failed"]), [yellow_2]);
    assert_eq!(files(&["--limit", "1"]), [yellow_2]);
    let table = text(&taxi(&database, &["runs"]).output().unwrap());
    assert!(table.lines().count() == 4 && table.contains(yellow_1) && table.contains("3,001"), "{table}");

    let run_id = loaded["run_id"].as_str().unwrap();
    let shown = text(&taxi(&database, &["runs", "show", run_id]).output().unwrap());
    for part in [
        "succeeded",
        "month=01",
        "--if-loaded merge",
        yellow_1,
        source,
        loaded["sha256"].as_str().unwrap(),
        "pid ",
    ] {
        assert!(shown.contains(part), "no {part:?} in\n{shown}");
    }
    for phase in ["connect", "create tables", "prepare", "load", "count duplicates", "commit"] {
        let bar = shown.lines().find(|line| line.trim_start().starts_with(phase) && line.contains('█'));
        assert!(bar.is_some_and(|line| line.ends_with(" s")), "no bar for {phase} in\n{shown}");
    }
    let whole = json(&taxi(&database, &["runs", "show", run_id, "--output", "json"]).output().unwrap());
    assert_eq!((&whole["rows_inserted"], &whole["inputs"]["taxi"]), (&3001.into(), &"yellow".into()));
    let log = whole["log"].as_array().unwrap();
    assert!(log.iter().any(|line| line["phase"] == "load" && line["event"] == "phase_ended"), "{log:?}");

    let failed = list(&["--status", "failed"]).remove(0);
    let shown =
        text(&taxi(&database, &["runs", "show", failed["run_id"].as_str().unwrap()]).output().unwrap());
    assert!(shown.contains("error (data)"), "{shown}");
    assert!(shown.contains("is neither gzip, CSV nor Parquet") && shown.contains("load: failed"), "{shown}");
    let unknown = "00000000-0000-0000-0000-000000000000";
    assert!(
        refusal(&taxi(&database, &["runs", "show", unknown]).output().unwrap(), 64)
            .contains("no run with the id")
    );
}

#[test]
fn a_killed_run_changes_from_running_to_lost() {
    let database = Database::new("running_lost");
    let body = gzip(yellow_csv(20_000, "2021-01").as_bytes());
    let site = Server::new(move |_| Reply::ok(body.clone()).at_most(body.len() as u64 / 600));
    let mut command = database.load("yellow", 2021, 1, &site.address);
    let mut run = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let status = || -> Option<String> {
        let list = json(&taxi(&database, &["runs", "--output", "json"]).output().unwrap());
        Some(list["runs"].get(0)?["status"].as_str().unwrap().to_owned())
    };
    wait_until("the run is running", || status().as_deref() == Some("running"));
    run.kill().unwrap();
    run.wait().unwrap();
    wait_until("the run is lost", || status().as_deref() == Some("lost"));
}

#[test]
fn commands_that_only_read_do_not_create_or_start_the_embedded_server() {
    let server = OwnServer::new();
    assert_eq!(
        json(&server.taxi(&["runs", "--output", "json"]).output().unwrap())["runs"],
        Value::Array(vec![])
    );
    refusal(&server.taxi(&["verify", "--taxi", "green", "--year", "2020"]).output().unwrap(), 67);
    let plan = [
        "backfill", "--taxi", "yellow", "--from", "2021-01", "--to", "2021-01", "--plan", "--output", "json",
    ];
    let source = testdata();
    let plan = [&plan[..], &["--source", source.to_str().unwrap()]].concat();
    assert_eq!(json(&server.taxi(&plan).output().unwrap())["files"][0]["action"], "load");
    assert!(!server.path().exists());
    // a stopped server may have a ledger, and a plan does not start a server
    json(&server.taxi(&["up", "--output", "json"]).output().unwrap());
    json(&server.taxi(&["down", "--output", "json"]).output().unwrap());
    assert!(refusal(&server.taxi(&plan).output().unwrap(), 78).contains("taxi up"));
    assert_eq!(server.status()["state"], "stopped");
}

#[test]
fn a_ledger_of_the_first_version_is_upgraded_in_place() {
    let database = Database::new("ledger_v1");
    database.sql(include_str!("../sql/ledger/1_runs.sql"));
    database.sql(
        "INSERT INTO taxi_etl.runs (run_id, pipeline, inputs, forced, status, filename, target_table, phases, \
             started_at, finished_at, tool_version) \
         VALUES (gen_random_uuid(), 'taxi.postgres_taxi', '{\"taxi\": \"yellow\"}', false, 'succeeded', \
             'yellow_tripdata_2021-01.csv', 'public.yellow_tripdata', '{\"load\": 1.5}', now(), now(), '0.0.1')",
    );
    let list = json(&taxi(&database, &["runs", "--output", "json"]).output().unwrap());
    assert_eq!(
        (&list["runs"][0]["status"], &list["runs"][0]["tool_version"]),
        (&"succeeded".into(), &"0.0.1".into())
    );
    let verified = taxi(&database, &["verify", "--taxi", "yellow", "--year", "2021", "--month", "1"]);
    assert_eq!({ verified }.output().unwrap().status.code(), Some(67));
    // such a run does not record enough to skip its file: the file is loaded once more, and then skipped
    let source = testdata();
    let load = || {
        json(&database.load("yellow", 2021, 1, source.to_str().unwrap()).output().unwrap())["status"].clone()
    };
    assert_eq!((load(), load()), ("loaded".into(), "skipped".into()));
    assert_eq!(
        database.value(
            "SELECT version || ' ' || (SELECT count(*) FROM taxi_etl.runs) FROM taxi_etl.ledger_version"
        ),
        "10 2"
    );

    database.sql("UPDATE taxi_etl.ledger_version SET version = 99");
    let error = refusal(&database.load("yellow", 2021, 1, source.to_str().unwrap()).output().unwrap(), 78);
    assert!(error.contains("has version 99, but this taxi supports version 10"), "{error}");
}

#[test]
fn verify_reports_files_with_missing_or_extra_rows() {
    let database = Database::new("verify");
    let source = testdata();
    json(&database.load("yellow", 2021, 1, source.to_str().unwrap()).output().unwrap());
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "yellow", "2021-02", &gzip(yellow_csv(50, "2021-02").as_bytes()));
    json(&database.load("yellow", 2021, 2, folder.path().to_str().unwrap()).output().unwrap());
    let verify = |month: &str| {
        let args = ["verify", "--output", "json", "--taxi", "yellow", "--year", "2021", "--month", month];
        let output = taxi(&database, &args).output().unwrap();
        let result: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code().unwrap(), result["files"][0].clone())
    };
    // invented rows under the name of a published file
    let (code, file) = verify("1");
    assert_eq!((code, &file["verdict"]), (67, &"not_as_published".into()), "{file}");
    assert_eq!(
        (&file["rows_in_target"], &file["rows_in_ledger"], &file["rows_published"]),
        (&3001.into(), &3001.into(), &1_369_765.into())
    );
    assert_eq!(verify("2").0, 0);
    assert_eq!(verify("2").1["verdict"], "agrees");
    let (code, file) = verify("3");
    assert_eq!((code, &file["verdict"]), (67, &"not_loaded".into()));
    assert_eq!((verify("5").0, &verify("5").1["verdict"]), (0, &"unknown".into()));
    database.sql("DELETE FROM yellow_tripdata WHERE ctid = (SELECT max(ctid) FROM yellow_tripdata WHERE filename LIKE '%02.csv')");
    let (code, file) = verify("2");
    assert_eq!((code, &file["verdict"], &file["rows_in_target"]), (67, &"differs".into(), &49.into()));

    let args = ["verify", "--taxi", "yellow", "--year", "2021"];
    let output = taxi(&database, &args).output().unwrap();
    assert_eq!(output.status.code(), Some(67));
    let table = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(table.lines().count(), 13, "{table}");
    assert!(
        String::from_utf8_lossy(&output.stderr)
            .contains("2 files have missing or extra rows, and 1 file is not loaded, of 12 files checked")
    );

    let error = |args: &[&str]| {
        let all = [&["verify", "--taxi", "yellow", "--year", "2021", "--month"], args].concat();
        let output = taxi(&database, &all).output().unwrap();
        assert_eq!(output.status.code(), Some(67));
        String::from_utf8(output.stderr).unwrap()
    };
    let missing = error(&["3"]);
    assert!(missing.contains("1 file is not loaded, of 1 file checked"), "{missing}");
    let backfill = "use 'taxi backfill --taxi yellow --from 2021-03 --to 2021-03' to load";
    assert!(missing.contains(backfill) && !missing.contains("--force"), "{missing}");
    let wrong = error(&["2"]);
    assert!(wrong.contains("1 file has missing or extra rows, of 1 file checked"), "{wrong}");
    assert!(wrong.contains("--from 2021-02 --to 2021-02 --force --if-loaded replace'"), "{wrong}");
}
