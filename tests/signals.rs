//! A run ends within five seconds of a signal and leaves nothing behind. A second signal ends it at once.

use std::io::{BufRead as _, BufReader};
use std::process::Child;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::http::{Reply, Server};
use crate::support::month::{gzip, write, yellow_csv};
use crate::support::targets::spawn;
use crate::support::{Database, OwnServer, STAGING_TABLES, json, skipped, wait_until};

const ROWS: u32 = 20_000;

fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id() as i32), signal).unwrap();
}

/// Waits until the run ends, which it must do within five seconds. Returns its stderr.
fn wait_for_end(child: Child, code: i32) -> String {
    let began = Instant::now();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}: {stderr}", began.elapsed());
    stderr
}

/// Returns a database whose target holds a month and inserts further rows slowly.
fn slow_target(name: &str) -> Database {
    let database = Database::new(name);
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "yellow", "2020-12", &gzip(yellow_csv(100, "2020-12").as_bytes()));
    json(&database.load("yellow", 2020, 12, folder.path().to_str().unwrap()).output().unwrap());
    database.sql(
        "CREATE FUNCTION slow_down() RETURNS trigger LANGUAGE plpgsql AS \
             'BEGIN PERFORM pg_sleep(0.01); RETURN NEW; END'; \
         CREATE TRIGGER slow_down BEFORE INSERT ON yellow_tripdata FOR EACH ROW EXECUTE FUNCTION slow_down()",
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
fn a_signal_during_copy_or_merge_leaves_nothing_behind() {
    let whole = gzip(yellow_csv(ROWS, "2021-01").as_bytes());
    let served = whole.clone();
    let slow = Server::new(move |_| Reply::ok(served.clone()).at_most(served.len() as u64 / 30));
    let fast = Server::new(move |_| Reply::ok(whole.clone()));
    for (index, (statement, site, signal, code)) in [
        ("COPY", &slow, Signal::SIGTERM, 143),
        ("COPY", &fast, Signal::SIGTERM, 143),
        ("MERGE", &fast, Signal::SIGTERM, 143),
        ("COPY", &slow, Signal::SIGINT, 130),
        ("COPY", &slow, Signal::SIGHUP, 143),
    ]
    .into_iter()
    .enumerate()
    {
        if signal == Signal::SIGHUP && ignores_hangups() {
            skipped("SIGHUP is ignored here, as under nohup");
            continue;
        }
        let database = slow_target(&format!("signal_{index}"));
        if statement == "MERGE" {
            // rows of the month that are not in the file: so many that the load uses MERGE
            database.sql(
                "ALTER TABLE yellow_tripdata DISABLE TRIGGER slow_down; \
                 INSERT INTO yellow_tripdata (unique_row_id, tpep_pickup_datetime) \
                     SELECT n, timestamp '2021-01-15' + n * interval '1 second' FROM generate_series(1, 2000) n; \
                 ALTER TABLE yellow_tripdata ENABLE TRIGGER slow_down",
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
        let stderr = wait_for_end(run, code);
        assert!(stderr.contains("rolling back; send a second signal to exit immediately"), "{stderr}");

        wait_until("the server has closed the sessions", || sessions(&database, "") == "0");
        assert_eq!(contents(), before, "{statement}");
        let recorded =
            database.sql("SELECT status, error_kind FROM taxi_etl.runs ORDER BY started_at DESC LIMIT 1");
        let kind = if code == 130 { "interrupted" } else { "terminated" };
        assert_eq!(recorded, [["cancelled", kind]], "{statement}: {stderr}");
        assert_eq!(database.value(STAGING_TABLES), "0", "{statement}");
    }
}

#[test]
fn a_backfill_after_a_signal_loads_the_remaining_months() {
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
    let statuses = |output: &[u8]| -> Vec<String> {
        let result: serde_json::Value = serde_json::from_slice(output).unwrap();
        result["files"]
            .as_array()
            .unwrap()
            .iter()
            .map(|file| file["status"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(statuses(&output.stdout), ["loaded", "loaded", "cancelled", "not_begun"]);
    // the folder has the same files, but identifies them by time and length: they are loaded again, and their
    // rows match
    let again = backfill(folder.path().to_str().unwrap()).output().unwrap();
    assert_eq!(statuses(&again.stdout), ["loaded"; 4]);
    assert_eq!(json(&again)["rows_inserted"], 1000);
}

#[test]
fn with_a_frozen_server_one_signal_ends_the_load_soon_and_two_end_it_at_once() {
    let server = OwnServer::created(None);
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
        let mut stderr = BufReader::new(run.stderr.take().unwrap()).lines().map_while(Result::ok);
        assert!(stderr.any(|line| line == "taxi: load ..."), "the load has not started");
        let frozen = server.processes();
        frozen.iter().for_each(|pid| kill(*pid, Signal::SIGSTOP).unwrap());
        let began = Instant::now();
        send(&run, Signal::SIGTERM);
        assert!(stderr.any(|line| line.contains("send a second signal to exit immediately")));
        if signals == 2 {
            send(&run, Signal::SIGTERM);
        }
        let code = run.wait().unwrap().code();
        let duration = began.elapsed();
        frozen.iter().for_each(|pid| kill(*pid, Signal::SIGCONT).unwrap());
        assert_eq!(code, Some(143));
        assert!(duration < Duration::from_secs(5), "{duration:?}");
        let unrecorded = "cannot record the end of the run in the ledger: the database does not respond";
        let gave_up = stderr.any(|line| line.contains(unrecorded));
        assert_eq!(
            gave_up,
            signals == 1,
            "the first signal must wait for the ledger, and the second must not"
        );
    }
}

/// Whether this process ignores SIGHUP, so that its children do too. Only Linux tells.
fn ignores_hangups() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_none_or(|mask| mask & 1 == 1)
}
