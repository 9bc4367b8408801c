//! `taxi doctor` reports what prevents a load, one check a line, and changes nothing.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::Value;

use crate::support::http::{Reply, Server};
use crate::support::{Database, OwnServer, is_root, json, taxi, testdata};

fn doctor(args: &[&str]) -> Command {
    let mut command = taxi(["doctor", "--output", "json"]);
    command.args(args);
    command
}

/// Returns the diagnosis of a command, which must end with `code`.
fn diagnosis(command: &mut Command, code: i32) -> Value {
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(code), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let diagnosis: Value = serde_json::from_str(&text).unwrap();
    for check in diagnosis["checks"].as_array().unwrap() {
        assert_eq!(
            check["fix"].is_null(),
            check["level"] == "ok",
            "a check has a fix if it is not ok: {check}"
        );
    }
    diagnosis
}

/// Returns the level and the message of the first check with this name.
fn check(diagnosis: &Value, name: &str) -> (String, String) {
    let checks = diagnosis["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"] == name);
    let check = check.unwrap_or_else(|| panic!("{name} was not checked: {diagnosis}"));
    (check["level"].as_str().unwrap().to_owned(), check["message"].as_str().unwrap().to_owned())
}

#[test]
fn a_healthy_database_and_source_are_ok_and_nothing_is_changed() {
    let database = Database::new("doctor_healthy");
    let source = testdata();
    let args = ["--database-url", &database.url, "--source", source.to_str().unwrap()];
    let objects = "SELECT count(*) || ' ' || (SELECT count(*) FROM pg_namespace) FROM pg_class";
    let before = database.value(objects);
    let found = diagnosis(&mut doctor(&args), 0);
    assert_eq!(database.value(objects), before, "the doctor has created something");
    for name in ["name resolution", "port", "tls", "authentication", "version", "clock", "ledger"] {
        assert_eq!(check(&found, name).0, "ok", "{found}");
    }
    for taxi in ["yellow", "green"] {
        let (level, message) = check(&found, &format!("table public.{taxi}_tripdata"));
        assert!(level == "ok" && message.contains("the first load creates it"), "{message}");
    }
    assert_eq!(check(&found, "source, yellow").0, "ok");
    // the disk of this machine may be almost full
    assert_ne!(found["status"], "failed");
    assert!(["ok", "warning"].contains(&check(&found, "disk").0.as_str()));

    json(&database.load("yellow", 2021, 1, source.to_str().unwrap()).output().unwrap());
    let found = diagnosis(&mut doctor(&args), 0);
    let message = check(&found, "table public.yellow_tripdata").1;
    assert_eq!(message, "taxi can fill its 20 columns; a new month becomes a partition");
    database.sql(
        "CREATE FUNCTION seen() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; \
         CREATE TRIGGER audit BEFORE INSERT ON yellow_tripdata FOR EACH ROW EXECUTE FUNCTION seen()",
    );
    let message = check(&diagnosis(&mut doctor(&args), 0), "table public.yellow_tripdata").1;
    assert!(
        message.contains("a new month is merged, not attached as a partition: the triggers audit"),
        "{message}"
    );
    let text = taxi(["doctor"]).args(args).output().unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    let is_ok = |line: &str| {
        line.contains("✓ ok ")
            && line.contains("authentication: taxi can connect to the database doctor_healthy")
    };
    assert!(text.lines().any(is_ok), "{text}");
}

#[test]
fn every_problem_is_reported_with_its_fix() {
    let database = Database::new("doctor_wrong");
    let source = testdata();
    let source = source.to_str().unwrap();
    let host_and_name = database.url.split_once('@').unwrap().1;
    let diagnose =
        |url: &str, code| diagnosis(&mut doctor(&["--database-url", url, "--source", source]), code);

    let (level, message) =
        check(&diagnose("postgresql://ann@no-such-host.invalid/trips", 69), "name resolution");
    assert!(
        level == "failed" && message.contains("cannot resolve the host name no-such-host.invalid"),
        "{message}"
    );
    assert_eq!(check(&diagnose("postgresql://ann@127.0.0.1:1/trips", 69), "port").0, "failed");
    assert_eq!(check(&diagnose("host=/nowhere user=ann", 69), "socket").0, "failed");
    assert_eq!(
        check(&diagnose(&format!("postgresql://taxi:wr0ng@{host_and_name}"), 77), "authentication").0,
        "failed"
    );
    assert_eq!(check(&diagnose(&format!("{}?sslmode=require", database.url), 78), "tls").0, "failed");
    assert_eq!(check(&diagnose("postgresql://ann@host/trips?sslmode=perhaps", 78), "settings").0, "failed");
    // one of several hosts is enough
    let two = database.url.replacen("@127.0.0.1:", "@127.0.0.1:1,127.0.0.1:", 1);
    assert_eq!(check(&diagnose(&two, 0), "port").0, "ok");

    // tables that others have created
    database.sql(
        "CREATE TABLE green_tripdata (unique_row_id text, filename text, lpep_pickup_datetime timestamp)",
    );
    let (level, message) = check(&diagnose(&database.url, 0), "table public.green_tripdata");
    assert!(level == "warning" && message.contains("because its time column has no index"), "{message}");
    database.sql("ALTER TABLE green_tripdata ADD fare_amount point");
    let (_, message) = check(&diagnose(&database.url, 78), "table public.green_tripdata");
    assert!(message.contains("fare_amount") && message.contains("point"), "{message}");
    database.sql("ALTER TABLE green_tripdata DROP fare_amount, DROP unique_row_id");
    let (_, message) = check(&diagnose(&database.url, 78), "table public.green_tripdata");
    assert!(message.contains("has no column unique_row_id of type text"), "{message}");
    database.sql("ALTER TABLE green_tripdata ADD unique_row_id text; CREATE INDEX ON green_tripdata (lpep_pickup_datetime) WHERE filename > 'x'");
    assert_eq!(
        check(&diagnose(&database.url, 0), "table public.green_tripdata").0,
        "warning",
        "a partial index does not help"
    );
    // ledgers of other versions
    json(&database.load("yellow", 2021, 1, source).output().unwrap());
    for (version, code, expected) in [(99, 78, "has a newer version"), (3, 0, "the next load upgrades it")] {
        database.sql(&format!("UPDATE taxi_etl.ledger_version SET version = {version}"));
        assert!(check(&diagnose(&database.url, code), "ledger").1.contains(expected));
    }
    database
        .sql("DROP TABLE green_tripdata; ALTER DATABASE doctor_wrong SET default_transaction_read_only = on");
    assert_eq!(check(&diagnose(&database.url, 78), "writes").0, "failed");
}

#[test]
fn every_kind_of_source_has_its_own_diagnosis() {
    let database = Database::new("doctor_sources");
    let diagnose = |source: &str, code| {
        diagnosis(&mut doctor(&["--database-url", &database.url, "--source", source]), code)
    };
    assert_eq!(check(&diagnose("/nowhere/at/all", 78), "source").0, "failed");
    assert_eq!(check(&diagnose("http://127.0.0.1:1", 69), "source").0, "failed");
    let site = Server::folder(&testdata());
    let found = diagnose(&site.address, 0);
    assert_eq!(check(&found, "source, yellow").0, "ok");
    let (level, message) = check(&found, "source");
    assert!(
        level == "warning"
            && message.contains("does not have")
            && message.contains("green_tripdata_2021-01.csv.gz"),
        "{message}"
    );
    let (requests, body_bytes) = site.take_traffic();
    assert!(body_bytes == 0 && requests.iter().all(|request| request.method == "HEAD"));
    let only_yellow = Server::answering(|request| match request.path.contains("yellow") {
        true => Reply::ok(vec![0; 10]),
        false => Reply::status(404),
    });
    let found = diagnose(&only_yellow.address, 0);
    let (level, message) = check(&found, "source, yellow");
    assert!(level == "warning" && message.contains("without ETag"), "{message}");
    let missing = check(&found, "source").1;
    assert!(missing.ends_with("fhvhv_tripdata_2021-01.csv.gz") && !missing.contains("yellow"), "{found}");
    assert_eq!(found["status"], "warning");
    let get_only = Server::answering(|request| match request.method.as_str() {
        "HEAD" => Reply::status(405),
        _ => Reply::ok(vec![0; 10]).header("ETag", "\"a\""),
    });
    assert_eq!(check(&diagnose(&get_only.address, 0), "source, yellow").0, "ok");
    let empty = Server::new(|_| Reply::status(404));
    assert_eq!(check(&diagnose(&empty.address, 0), "source").0, "warning");
}

#[test]
fn the_embedded_server_is_checked_and_not_started() {
    let server = OwnServer::new();
    let source = testdata();
    let args = ["doctor", "--output", "json", "--source", source.to_str().unwrap()];
    let found = diagnosis(&mut server.taxi(&args), 0);
    assert!(check(&found, "embedded server").1.contains("not created yet"));
    assert_eq!(check(&found, "server programs").0, "ok");
    assert!(!server.path().exists(), "the doctor has created something");

    json(&server.taxi(&["up", "--output", "json"]).output().unwrap());
    let found = diagnosis(&mut server.taxi(&args), 0);
    assert!(check(&found, "embedded server").1.contains("running, with its data in"));
    assert_eq!(check(&found, "authentication").0, "ok");
    let disks = found["checks"].as_array().unwrap().iter().filter(|check| check["name"] == "disk");
    assert_eq!(disks.count(), 1);

    json(&server.taxi(&["down", "--output", "json"]).output().unwrap());
    let found = diagnosis(&mut server.taxi(&args), 0);
    assert!(check(&found, "embedded server").1.contains("stopped: the next load starts it"));
    assert_eq!(server.status()["state"], "stopped");

    if is_root() {
        let closed = tempfile::tempdir().unwrap();
        std::fs::set_permissions(closed.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let found = diagnosis(doctor(&[]).env("TAXI_HOME", closed.path().join("home")).args(&args[3..]), 78);
        let (level, message) = check(&found, "embedded server");
        assert!(level == "failed" && message.contains("cannot enter"), "{message}");
    }
}

#[test]
fn the_programs_and_the_mirror_that_the_next_start_uses_are_checked() {
    let server = OwnServer::new();
    let source = testdata();
    let args = ["doctor", "--output", "json", "--source", source.to_str().unwrap()];
    let diagnose = |variables: &[(&str, &str)], code| {
        let mut doctor = server.taxi(&args);
        diagnosis(doctor.envs(variables.iter().copied()), code)
    };
    let (_, message) = check(&diagnose(&[], 0), "server programs");
    assert!(message.starts_with("PostgreSQL ") && message.contains(" in /"), "{message}");

    // the mirror is asked, and nothing is downloaded
    let mirror = Server::new(|path| match path.ends_with(".tar.gz") {
        true => Reply::ok(vec![0; 1000]),
        false => Reply::status(404),
    });
    let download = |address: &str, code| {
        diagnose(&[("TAXI_POSTGRES_BIN", "download"), ("TAXI_POSTGRES_MIRROR", address)], code)
    };
    let (level, message) = check(&download(&mirror.address, 0), "server programs");
    assert!(level == "warning" && message.contains("the first load downloads http"), "{message}");
    assert_eq!(mirror.requests().len(), 1);
    let empty = Server::new(|_| Reply::status(404));
    for (address, code, expected) in
        [(empty.address.as_str(), 78, "404"), ("http://127.0.0.1:1", 69, "cannot reach")]
    {
        let (level, message) = check(&download(address, code), "server programs");
        assert!(level == "failed" && message.contains(expected), "{message}");
    }
    assert!(!server.path().exists(), "the doctor has created something");

    // a program that cannot be run, or not by the account of the server
    let programs = crate::support::open_tempdir();
    for name in ["postgres", "initdb", "pg_ctl"] {
        let path = programs.path().join(name);
        std::fs::write(&path, "#!/bin/sh\necho 'postgres (PostgreSQL) 16.2'\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let given = [("TAXI_POSTGRES_BIN", programs.path().to_str().unwrap())];
    assert_eq!(check(&diagnose(&given, 0), "server programs").0, "ok");
    let initdb = programs.path().join("initdb");
    std::fs::set_permissions(&initdb, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (level, message) = check(&diagnose(&given, 78), "embedded server");
    assert!(level == "failed" && message.contains("cannot run") && message.contains("/initdb"), "{message}");
    if is_root() {
        std::fs::set_permissions(&initdb, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::set_permissions(programs.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let (level, message) = check(&diagnose(&given, 78), "embedded server");
        assert!(level == "failed" && message.contains("cannot run"), "{message}");
    }
}

#[test]
fn timeouts_that_taxi_does_not_turn_off_are_reported() {
    let database = Database::new("doctor_timeouts");
    database.sql("ALTER DATABASE doctor_timeouts SET statement_timeout = '3s'");
    let source = testdata();
    let args = ["--database-url", &database.url, "--source", source.to_str().unwrap()];
    let found = diagnosis(&mut doctor(&args), 0);
    assert!(!found["checks"].to_string().contains("statement_timeout"), "taxi turns it off: {found}");
    let found = diagnosis(doctor(&args).env("PGOPTIONS", "-c statement_timeout=3s -c lock_timeout=1min"), 0);
    let (level, message) = check(&found, "timeouts");
    assert_eq!(level, "warning");
    assert!(message.contains("lock_timeout = 1min, statement_timeout = 3s"), "{message}");
}
