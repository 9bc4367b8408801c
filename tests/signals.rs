//! A run that is told to end does so: in good order, soon, and with nothing left behind; told twice, at once.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::http::{Reply, Server};
use crate::support::month::{gzip, write, yellow_csv};
use crate::support::{Database, OwnServer, STAGING_TABLES, json, wait_until};

const ROWS: u32 = 20_000;

fn spawn(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id() as i32), signal).unwrap();
}

/// Waits for the end, which has to come within the five seconds that are promised.
fn end(child: Child, code: i32) -> String {
    let began = Instant::now();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}: {said}", began.elapsed());
    said
}

/// A database whose target holds a month and takes its time over further rows.
fn slow_target(name: &str) -> Database {
    let database = Database::new(name);
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "yellow", "2020-12", &gzip(yellow_csv(100, "2020-12").as_bytes()));
    json(&database.load("yellow", 2020, 12, folder.path().to_str().unwrap()).output().unwrap());
    database.sql(
        "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS \
             'BEGIN PERFORM pg_sleep(0.01); RETURN NEW; END'; \
         CREATE TRIGGER dawdle BEFORE INSERT ON yellow_tripdata FOR EACH ROW EXECUTE FUNCTION dawdle()",
    );
    database
}

fn sessions(database: &Database, which: &str) -> String {
    database.value(&format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND application_name = 'taxi-etl' {which}",
        database.name()
    ))
}

#[test]
fn a_signal_in_copy_insert_or_merge_leaves_nothing_behind() {
    let whole = gzip(yellow_csv(ROWS, "2021-01").as_bytes());
    let served = whole.clone();
    let slow = Server::new(move |_| Reply::ok(served.clone()).at_most(served.len() as u64 / 30));
    let fast = Server::new(move |_| Reply::ok(whole.clone()));
    for (index, (statement, site, signal, code)) in [
        ("COPY", &slow, Signal::SIGTERM, 143),
        ("COPY", &fast, Signal::SIGTERM, 143),
        ("MERGE", &fast, Signal::SIGTERM, 143),
        ("COPY", &slow, Signal::SIGINT, 130),
    ]
    .into_iter()
    .enumerate()
    {
        let database = slow_target(&format!("signal_{index}"));
        if statement == "MERGE" {
            // rows of the month, none of which is in the file: too many to insert around
            database.sql(
                "ALTER TABLE yellow_tripdata DISABLE TRIGGER dawdle; \
                 INSERT INTO yellow_tripdata (unique_row_id, tpep_pickup_datetime) \
                     SELECT n, timestamp '2021-01-15' + n * interval '1 second' FROM generate_series(1, 2000) n; \
                 ALTER TABLE yellow_tripdata ENABLE TRIGGER dawdle",
            );
        }
        let contents = || {
            database.value(
                "SELECT count(*) || md5(string_agg(t::text, '' ORDER BY t::text)) FROM yellow_tripdata t",
            )
        };
        let before = contents();
        let run = spawn(&mut database.load("yellow", 2021, 1, &site.address));
        let active = format!("AND state = 'active' AND query LIKE '%{statement} %yellow_tripdata%'");
        let active =
            if statement == "COPY" { "AND state = 'active' AND query LIKE '%COPY %'" } else { &active };
        wait_until("the statement runs", || sessions(&database, active) != "0");
        send(&run, signal);
        let said = end(run, code);
        assert!(said.contains("a second signal ends at once"), "{said}");

        wait_until("the server has let the sessions go", || sessions(&database, "") == "0");
        assert_eq!(contents(), before, "{statement}");
        let recorded =
            database.sql("SELECT status, error_kind FROM taxi_etl.runs ORDER BY started_at DESC LIMIT 1");
        let kind = if code == 130 { "interrupted" } else { "terminated" };
        assert_eq!(recorded, [["cancelled", kind]], "{statement}: {said}");
        assert_eq!(database.value(STAGING_TABLES), "0", "{statement}");
    }
}

#[test]
fn a_backfill_that_is_ended_goes_on_where_it_was() {
    let database = Database::new("signal_backfill");
    let folder = tempfile::tempdir().unwrap();
    for name in ["2021-01", "2021-02", "2021-03", "2021-04"] {
        write(folder.path(), "yellow", name, &gzip(yellow_csv(500, name).as_bytes()));
    }
    let root = folder.path().to_owned();
    let stuck = Server::answering(move |request| {
        let reply = Reply::file(&root, request);
        if request.path.contains("2021-03") { reply.at_most(1) } else { reply }
    });
    let backfill = |source: &str| {
        let mut command =
            crate::support::taxi(["backfill", "--taxi", "yellow", "--from", "2021-01", "--to", "2021-04"]);
        command.args(["--output", "json", "--source", source]).env("DATABASE_URL", &database.url);
        command
    };
    let run = spawn(&mut backfill(&stuck.address));
    wait_until("the third month is being loaded", || {
        stuck.requests().iter().any(|path| path.contains("2021-03"))
    });
    send(&run, Signal::SIGTERM);
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(143));
    let endings = |output: &[u8]| -> Vec<String> {
        let result: serde_json::Value = serde_json::from_slice(output).unwrap();
        result["files"]
            .as_array()
            .unwrap()
            .iter()
            .map(|file| file["status"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(endings(&output.stdout), ["loaded", "loaded", "cancelled", "not_begun"]);
    // the files of the folder are those that the site gave, though told by time and length: loaded again they match
    let again = backfill(folder.path().to_str().unwrap()).output().unwrap();
    assert_eq!(endings(&again.stdout), ["loaded"; 4]);
    assert_eq!(json(&again)["rows_inserted"], 1000);
}

#[test]
fn where_the_server_is_frozen_one_signal_ends_soon_and_two_at_once() {
    let server = OwnServer::new();
    json(&server.taxi(&["up", "--output", "json"]).output().unwrap());
    let body = gzip(yellow_csv(ROWS, "2021-01").as_bytes());
    let site = Server::new(move |_| Reply::ok(body.clone()).at_most(body.len() as u64 / 600));
    for signals in [1, 2] {
        let mut run = spawn(&mut server.taxi(&[
            "load",
            "--taxi",
            "yellow",
            "--year",
            "2021",
            "--month",
            "1",
            "--source",
            &site.address,
        ]));
        let mut said = BufReader::new(run.stderr.take().unwrap()).lines().map_while(Result::ok);
        assert!(said.any(|line| line == "taxi: load ..."), "the load has not begun");
        let frozen = server.processes();
        frozen.iter().for_each(|pid| kill(*pid, Signal::SIGSTOP).unwrap());
        let began = Instant::now();
        send(&run, Signal::SIGTERM);
        assert!(said.any(|line| line.contains("a second signal ends at once")));
        if signals == 2 {
            send(&run, Signal::SIGTERM);
        }
        let code = run.wait().unwrap().code();
        let took = began.elapsed();
        frozen.iter().for_each(|pid| kill(*pid, Signal::SIGCONT).unwrap());
        assert_eq!(code, Some(143));
        assert!(took < Duration::from_secs(5), "{took:?}");
        let gave_up = said
            .any(|line| line.contains("the run's end is not in the ledger: the database does not answer"));
        assert_eq!(gave_up, signals == 1, "the second signal was waited for, or the first was not");
    }
}
