//! `taxi drop`: the rows of a file go, rows of other files stay, and the month can be loaded again.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::backups::on;
use crate::support::http::{Reply, Server};
use crate::support::month::{YELLOW_ROW, gzip, yellow_csv};
use crate::support::targets::{contents, partitions, plain, spawn, write_month, write_neighbours};
use crate::support::terminal::Terminal;
use crate::support::{Database, OwnServer, json, refusal, testdata, wait_until};

const JANUARY: &str = "yellow_tripdata_2021-01.csv";
const FEBRUARY: &str = "yellow_tripdata_2021-02.csv";

/// Returns a `taxi drop` command for yellow months of 2021.
fn drop_months(database: &Database, args: &[&str]) -> Command {
    on(database, &[&["drop", "--taxi", "yellow", "--year", "2021"], args].concat())
}

/// The digest of all rows of a file.
fn file(database: &Database, filename: &str) -> Vec<String> {
    database.digest("yellow_tripdata", filename)
}

/// Loads both neighbours, drops January, and loads it again.
fn check_january(database: &Database, source: &str, expected_partitions: Option<&[&str]>) -> Value {
    for month in [1, 2] {
        json(&database.load("yellow", 2021, month, source).output().unwrap());
    }
    let (all, january, february) = (contents(database), file(database, JANUARY), file(database, FEBRUARY));
    let dropped = json(&drop_months(database, &["--month", "1", "--yes"]).output().unwrap());
    assert_eq!((&dropped["status"], &dropped["files"][0]["filename"]), (&"dropped".into(), &JANUARY.into()));
    assert_eq!(dropped["rows_dropped"].to_string(), january[0]);
    assert_eq!(file(database, JANUARY)[0], "0");
    assert_eq!(file(database, FEBRUARY), february, "the rows of the other file stay");
    if let Some(expected) = expected_partitions {
        assert_eq!(partitions(database), expected);
    }
    json(&database.load("yellow", 2021, 1, source).output().unwrap());
    assert_eq!(contents(database), all, "a load after the drop gives the same rows");
    dropped
}

#[test]
fn the_partition_goes_and_rows_of_other_files_in_it_stay() {
    let folder = tempfile::tempdir().unwrap();
    write_neighbours(folder.path());
    let source = folder.path().to_str().unwrap();
    let database = Database::new("drop_partition");
    // January's file came first, so February's own rows in January are those that only its file has
    let dropped = check_january(
        &database,
        source,
        Some(&["yellow_tripdata_2021_02 2000", "yellow_tripdata_default 20"]),
    );
    let file = &dropped["files"][0];
    assert_eq!(file["dropped_partition"], "public_partitions.yellow_tripdata_2021_01");
    assert_eq!(file["rows_moved"], 20);
    assert_eq!(partitions(&database).len(), 3);
}

#[test]
fn rows_go_by_their_file_where_the_partition_cannot() {
    let folder = tempfile::tempdir().unwrap();
    write_neighbours(folder.path());
    let source = folder.path().to_str().unwrap();
    let dropped = check_january(&plain("drop_plain"), source, None);
    assert_eq!(dropped["files"][0]["dropped_partition"], Value::Null);

    // a trigger must fire for the rows
    let database = Database::new("drop_trigger");
    json(&database.load("yellow", 2021, 1, source).output().unwrap());
    database.sql(
        "CREATE TABLE gone (n int); CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN INSERT INTO public.gone VALUES (1); RETURN OLD; END $$; \
         CREATE TRIGGER note AFTER DELETE ON yellow_tripdata FOR EACH ROW EXECUTE FUNCTION note()",
    );
    let dropped = json(&drop_months(&database, &["--month", "1", "--yes"]).output().unwrap());
    assert_eq!(dropped["rows_dropped"].to_string(), database.value("SELECT count(*) FROM gone"));
    assert_eq!(partitions(&database), ["yellow_tripdata_2021_01 0", "yellow_tripdata_default 0"]);
    json(&database.load("yellow", 2021, 1, source).output().unwrap());
    assert_eq!(database.value("SELECT count(*) FROM yellow_tripdata"), dropped["rows_dropped"].to_string());
}

#[test]
fn a_year_goes_in_one_transaction_with_rows_in_each_others_months() {
    let folder = tempfile::tempdir().unwrap();
    write_neighbours(folder.path());
    let source = folder.path().to_str().unwrap();
    let database = Database::new("drop_year");
    for month in [1, 2] {
        json(&database.load("yellow", 2021, month, source).output().unwrap());
    }
    // a row of a user, in January
    database.sql("INSERT INTO yellow_tripdata (filename, tpep_pickup_datetime) VALUES (NULL, '2021-01-05')");
    let all = contents(&database);
    let planned = json(&drop_months(&database, &["--plan"]).output().unwrap());
    assert_eq!(planned["status"], "planned");
    assert_eq!(contents(&database), all, "a dry run changes nothing");
    let dropped = json(&drop_months(&database, &["--yes"]).output().unwrap());
    assert_eq!(dropped["files"], planned["files"], "the dry run says what goes");
    assert_eq!(dropped["rows_dropped"], 4080);
    assert_eq!(partitions(&database), ["yellow_tripdata_default 1"], "the row of the user stays");
    let nothing = json(&drop_months(&database, &["--yes"]).output().unwrap());
    assert_eq!((&nothing["status"], &nothing["rows_dropped"]), (&"nothing".into(), &0.into()));
    for month in [1, 2] {
        json(&database.load("yellow", 2021, month, source).output().unwrap());
    }
    assert_eq!(contents(&database), all);
}

#[test]
fn the_run_history_verify_and_backfill_know_that_a_month_was_dropped() {
    let database = Database::new("drop_history");
    let folder = tempfile::tempdir().unwrap();
    write_month(folder.path(), "2021-02", &yellow_csv(50, "2021-02"));
    let source = folder.path().to_str().unwrap();
    json(&database.load("yellow", 2021, 2, source).output().unwrap());
    json(&drop_months(&database, &["--month", "2", "--yes"]).output().unwrap());
    let run = |args: &[&str]| json(&on(&database, args).output().unwrap());
    let listed = run(&["runs", "--status", "dropped"]);
    assert_eq!(
        (&listed["runs"][0]["status"], &listed["runs"][0]["filename"]),
        (&"dropped".into(), &FEBRUARY.into())
    );
    assert!(listed["runs"][0]["dropped_at"].is_string());
    let verify = ["verify", "--taxi", "yellow", "--year", "2021", "--month", "2"];
    assert_eq!(run(&verify)["files"][0]["verdict"], "dropped");
    let range = ["--taxi", "yellow", "--from", "2021-02", "--to", "2021-02", "--source", source];
    let planned = run(&[&["backfill", "--plan"], &range[..]].concat());
    assert_eq!(planned["files"][0]["action"], "load");
    assert_eq!(run(&[&["backfill"], &range[..]].concat())["rows_inserted"], 50);
    assert_eq!(run(&verify)["files"][0]["verdict"], "agrees");
}

#[test]
fn files_that_shared_rows_with_a_dropped_file_are_compared_again() {
    let database = Database::new("drop_shared");
    let folder = tempfile::tempdir().unwrap();
    write_month(folder.path(), "2021-01", &yellow_csv(100, "2021-01"));
    // February's file has the same rows
    write_month(
        folder.path(),
        "2021-02",
        &(yellow_csv(100, "2021-01") + &YELLOW_ROW.replace("2021-01", "2021-02") + "\r\n"),
    );
    let source = folder.path().to_str().unwrap();
    for month in [1, 2] {
        json(&database.load("yellow", 2021, month, source).output().unwrap());
    }
    json(&drop_months(&database, &["--month", "1", "--yes"]).output().unwrap());
    assert_eq!(database.value("SELECT count(*) FROM yellow_tripdata"), "1");
    let again = json(&database.load("yellow", 2021, 2, source).output().unwrap());
    assert_eq!((&again["status"], &again["rows_inserted"]), (&"loaded".into(), &100.into()));
}

#[test]
fn a_drop_asks_on_a_terminal_and_needs_yes_elsewhere() {
    let database = Database::new("drop_asks");
    json(&database.load("yellow", 2021, 1, testdata().to_str().unwrap()).output().unwrap());
    let error =
        refusal(&drop_months(&database, &["--month", "1"]).stdin(Stdio::null()).output().unwrap(), 64);
    assert!(error.contains("stdin is not a terminal") && error.contains("--yes"), "{error}");
    let ask = |answer: &str| {
        let mut command = crate::support::taxi(["drop", "--taxi", "yellow", "--year", "2021"]);
        let mut terminal = Terminal::spawn(command.env("DATABASE_URL", &database.url), 160, [None, None]);
        terminal.type_line(answer);
        let (status, rows) = terminal.finish();
        (status.code(), rows.join("\n"))
    };
    let (code, screen) = ask("n");
    assert_eq!(code, Some(64), "{screen}");
    assert!(
        screen.contains("Remove these 3,001 rows? [y/N]") && screen.contains("partition dropped"),
        "{screen}"
    );
    assert_eq!(database.value("SELECT count(*) FROM yellow_tripdata"), "3001");
    let (code, screen) = ask("yes");
    assert_eq!(code, Some(0), "{screen}");
    assert!(screen.contains("3,001 rows removed"), "{screen}");
    assert_eq!(database.value("SELECT count(*) FROM yellow_tripdata"), "0");
}

#[test]
fn a_drop_waits_for_loads_of_the_month_and_for_long_queries() {
    let database = Database::new("drop_waits");
    json(&database.load("yellow", 2021, 1, testdata().to_str().unwrap()).output().unwrap());
    let file = gzip(yellow_csv(20_000, "2021-02").as_bytes());
    let site = Server::new(move |_| Reply::ok(file.clone()).at_most(file.len() as u64 / 600));
    let mut load = spawn(&mut database.load("yellow", 2021, 2, &site.address));
    let running = "SELECT count(*) FROM taxi_etl.runs WHERE status = 'running'";
    wait_until("the load runs", || database.value(running) == "1");
    let error = refusal(&drop_months(&database, &["--yes", "--lock-timeout", "1"]).output().unwrap(), 75);
    assert!(error.contains("the lock on yellow_tripdata_2021-02.csv"), "{error}");
    load.kill().unwrap();
    load.wait().unwrap();

    let reader = Database::connect(database.url.clone(), String::new());
    reader.sql("BEGIN; SELECT count(*) FROM yellow_tripdata");
    let one = ["--month", "1", "--yes", "--lock-timeout", "2"];
    let error = refusal(&drop_months(&database, &one).output().unwrap(), 75);
    assert!(error.contains("public.yellow_tripdata is in use by process"), "{error}");
    assert_eq!(database.value("SELECT count(*) FROM yellow_tripdata"), "3001");
    reader.sql("COMMIT");
    assert_eq!(json(&drop_months(&database, &one).output().unwrap())["rows_dropped"], 3001);
}

#[test]
fn a_drop_creates_no_embedded_server() {
    let server = OwnServer::new();
    let args = ["drop", "--taxi", "yellow", "--year", "2021", "--yes", "--output", "json"];
    assert_eq!(json(&server.taxi(&args).output().unwrap())["status"], "nothing");
    assert!(!server.path().exists());
}

#[test]
fn a_cancelled_drop_removes_nothing() {
    let database = Database::new("drop_cancelled");
    json(&database.load("yellow", 2021, 1, testdata().to_str().unwrap()).output().unwrap());
    let reader = Database::connect(database.url.clone(), String::new());
    reader.sql("BEGIN; SELECT count(*) FROM yellow_tripdata");
    let dropping = spawn(&mut drop_months(&database, &["--month", "1", "--yes"]));
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%DETACH PARTITION%' AND wait_event_type = 'Lock' \
                   AND datname = current_database()";
    wait_until("the drop waits", || database.value(waiting) != "0");
    let pid = nix::unistd::Pid::from_raw(dropping.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    refusal(&dropping.wait_with_output().unwrap(), 143);
    reader.sql("COMMIT");
    assert_eq!(partitions(&database), ["yellow_tripdata_2021_01 3000", "yellow_tripdata_default 1"]);
    let dropped = "SELECT count(*) FROM taxi_etl.runs WHERE dropped_at IS NOT NULL";
    assert_eq!(database.value(dropped), "0");
}
