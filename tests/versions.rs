//! The core of what taxi promises, on every supported version of PostgreSQL.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::support::backups::again;
use crate::support::http::{Reply, Server};
use crate::support::month::{gzip, write, yellow_csv};
use crate::support::{Database, OwnServer, flows, json, skipped, taxi, testdata, wait_until};

/// The servers in the folder `TAXI_REAL_SERVERS`, which has one folder for each version, with the programs in `bin`. All
/// other tests use the installed version.
fn servers() -> Vec<PathBuf> {
    let Some(folder) = std::env::var_os("TAXI_REAL_SERVERS") else {
        skipped("TAXI_REAL_SERVERS is not set: only the installed version is tested");
        return Vec::new();
    };
    let mut servers: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path().join("bin")).collect();
    let installed = Database::new("versions").value("SHOW server_version");
    servers.retain(|programs| {
        let major = programs.parent().unwrap().file_name().unwrap().to_str().unwrap();
        !installed.starts_with(&format!("{major}."))
    });
    assert!(!servers.is_empty(), "TAXI_REAL_SERVERS has no other version than {installed}");
    servers
}

#[test]
fn loads_backfills_kills_flows_backups_and_restores_work_on_every_version() {
    std::thread::scope(|scope| {
        for programs in servers() {
            scope.spawn(move || check(&programs));
        }
    });
}

fn check(programs: &Path) {
    let server = OwnServer::new();
    let up = server.taxi(&["up", "--output", "json"]).env("TAXI_POSTGRES_BIN", programs).output().unwrap();
    let up = json(&up);
    let major: u32 = up["version"].as_str().unwrap().split('.').next().unwrap().parse().unwrap();
    assert_eq!(programs.parent().unwrap().file_name().unwrap(), major.to_string().as_str());
    let database = Database::connect(up["database_url"].as_str().unwrap().to_owned(), "ny_taxi".to_owned());
    database.skip_fsync();
    let source = testdata();
    let source = source.to_str().unwrap();

    // a load, and the same load again
    let load = || json(&database.load("yellow", 2021, 1, source).output().unwrap());
    assert_eq!(load()["rows_inserted"], 3001, "{major}");
    let first = database.digest("yellow_tripdata", "yellow_tripdata_2021-01.csv");
    assert_eq!(load()["status"], "skipped", "{major}");
    let forced = json(&database.reload("yellow", 2021, 1, source).output().unwrap());
    assert_eq!((&forced["rows_inserted"], &forced["rows_matched"]), (&0.into(), &3001.into()), "{major}");
    let replaced =
        database.reload("yellow", 2021, 1, source).args(["--if-loaded", "replace"]).output().unwrap();
    assert_eq!(json(&replaced)["rows_deleted"], 3001, "{major}");
    assert_eq!(database.digest("yellow_tripdata", "yellow_tripdata_2021-01.csv"), first, "{major}");

    // a backfill, side by side
    let folder = tempfile::tempdir().unwrap();
    for month in ["2022-01", "2022-02", "2022-03"] {
        write(folder.path(), "yellow", month, &gzip(yellow_csv(2000, month).as_bytes()));
    }
    let mut backfill =
        taxi(["backfill", "--taxi", "yellow", "--from", "2022-01", "--to", "2022-03", "--jobs", "2"]);
    backfill.args(["--output", "json", "--source"]).arg(folder.path()).env("DATABASE_URL", &database.url);
    assert_eq!(json(&backfill.output().unwrap())["rows_inserted"], 6000, "{major}");

    // a load that is killed, and the load after it
    let file = gzip(yellow_csv(20_000, "2022-04").as_bytes());
    let slow = file.clone();
    let site = Server::new(move |_| Reply::ok(slow.clone()).at_most(slow.len() as u64 / 5));
    let mut killed = database.load("yellow", 2022, 4, &site.address);
    let mut killed = killed.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let copying =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'taxi-etl' AND query LIKE '%COPY %'";
    wait_until("the load copies rows", || database.value(copying) != "0");
    killed.kill().unwrap();
    killed.wait().unwrap();
    write(folder.path(), "yellow", "2022-04", &file);
    let repeated = json(&database.load("yellow", 2022, 4, folder.path().to_str().unwrap()).output().unwrap());
    assert_eq!(repeated["rows_inserted"], 20_000, "{major}");
    assert_eq!(database.value("SELECT count(*) FROM taxi_etl.runs WHERE status = 'lost'"), "1", "{major}");

    // a flow
    let flow = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/postgres_taxi.yaml");
    let source_input = format!("source={source}");
    let inputs =
        ["taxi=green", "year=2020", "month=03", &source_input].map(|input| ["--input", input]).concat();
    let run = json(&flows::run(&database, &flow, &inputs).output().unwrap());
    assert_eq!(run["status"], "succeeded", "{major}: {run}");
    assert_eq!(database.value("SELECT count(*) FROM green_tripdata"), "2001", "{major}");

    // timeouts of the database, of which version 17 has one more
    for setting in ["statement_timeout", "idle_in_transaction_session_timeout", "transaction_timeout"] {
        if setting != "transaction_timeout" || major >= 17 {
            database.sql(&format!("ALTER DATABASE ny_taxi SET {setting} = '700ms'"));
        }
    }
    let file = gzip(yellow_csv(3000, "2022-05").as_bytes());
    let rate = file.len() as u64 / 2;
    let slow = Server::new(move |_| Reply::ok(file.clone()).at_most(rate));
    let loaded = json(&database.load("yellow", 2022, 5, &slow.address).output().unwrap());
    assert_eq!(loaded["rows_inserted"], 3000, "{major}");

    // a backup, with the same timeouts, and its restore
    if !programs.join("pg_dump").exists() {
        return skipped(&format!("TAXI_REAL_SERVERS has no pg_dump of PostgreSQL {major}"));
    }
    let backup = server.taxi(&["backup", "--verify", "--output", "json"]).output().unwrap();
    let backup = json(&backup);
    assert_eq!((&backup["verified"], &backup["files"]), (&true.into(), &7.into()), "{major}: {backup}");
    database.sql("DELETE FROM yellow_tripdata; DROP TABLE green_tripdata");
    let restore = ["restore", "--force", "--output", "json", backup["path"].as_str().unwrap()];
    assert_eq!(json(&server.taxi(&restore).output().unwrap())["rows"], backup["rows"], "{major}");
    let database = again(&database);
    assert_eq!(database.digest("yellow_tripdata", "yellow_tripdata_2021-01.csv"), first, "{major}");
    assert_eq!(database.value("SELECT count(*) FROM green_tripdata"), "2001", "{major}");
}
