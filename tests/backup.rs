//! `taxi backup`: what a backup holds, that it is private and all or nothing, and what `--keep` removes.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::support::backups::{again, back_up, backup, has_pg_dump, leftovers, manifest, on, restore};
use crate::support::http::{Reply, Server};
use crate::support::month::{gzip, yellow_csv};
use crate::support::targets::{contents, spawn, write_neighbours};
use crate::support::{Database, OwnServer, json, open_tempdir, refusal, skipped, taxi, testdata, wait_until};

/// The entries of a directory, sorted.
fn entries(dir: &Path) -> Vec<String> {
    let entries =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut entries: Vec<String> = entries.collect();
    entries.sort();
    entries
}

#[test]
fn a_backup_holds_the_whole_database_and_its_manifest_counts_it() {
    if !has_pg_dump() {
        return;
    }
    let database = Database::new("backed_up");
    let (folder, source) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_neighbours(source.path());
    for month in [1, 2] {
        json(&database.load("yellow", 2021, month, source.path().to_str().unwrap()).output().unwrap());
    }
    json(&database.load("green", 2020, 3, testdata().to_str().unwrap()).output().unwrap());
    database.sql("CREATE TABLE zones (id int); INSERT INTO zones SELECT generate_series(1, 7)");
    let made = json(&backup(&database, folder.path(), &["--verify"]).output().unwrap());
    assert_eq!((&made["status"], &made["verified"]), (&"backed_up".into(), &true.into()));
    let dir = PathBuf::from(made["path"].as_str().unwrap());
    assert!(dir.file_name().unwrap().to_str().unwrap().starts_with("backed_up-2"), "{made}");
    assert_eq!(entries(folder.path()).len(), 1);
    assert_eq!(std::fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(leftovers(&database, "backed_up").is_empty());

    let manifest = manifest(&dir);
    assert_eq!(manifest["taxi_version"], env!("CARGO_PKG_VERSION"));
    assert!(database.value("SHOW server_version").starts_with(manifest["server_version"].as_str().unwrap()));
    assert_eq!((&manifest["database"], &manifest["ledger"]["runs"]), (&"backed_up".into(), &3.into()));
    let version = database.value("SELECT version FROM taxi_etl.ledger_version");
    assert_eq!(manifest["ledger"]["version"].to_string(), version);
    let tables: Vec<&str> = manifest["targets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|target| target["table"].as_str().unwrap())
        .collect();
    assert_eq!(tables, ["public.green_tripdata", "public.yellow_tripdata"]);
    for file in manifest["targets"][1]["files"].as_array().unwrap() {
        let query = format!("SELECT count(*) FROM yellow_tripdata WHERE filename = {}", file["filename"]);
        assert_eq!(file["rows"].to_string(), database.value(&query.replace('"', "'")));
    }
    let zones = serde_json::json!({"table": "public.zones", "rows": 7});
    assert!(manifest["other_tables"].as_array().unwrap().contains(&zones), "{manifest}");

    let before = contents(&database);
    database.sql("DELETE FROM yellow_tripdata; DROP TABLE zones");
    json(&restore(&database, &dir, &["--force"]).output().unwrap());
    let database = again(&database);
    assert_eq!(contents(&database), before);
    assert_eq!(database.value("SELECT sum(id) FROM zones"), "28");
    let skipped = json(&database.load("yellow", 2021, 1, source.path().to_str().unwrap()).output().unwrap());
    assert_eq!(skipped["status"], "skipped");
}

#[test]
fn a_backup_during_a_load_is_one_snapshot() {
    if !has_pg_dump() {
        return;
    }
    let database = Database::new("backed_up_loading");
    let file = gzip(yellow_csv(20_000, "2021-01").as_bytes());
    let february = gzip(yellow_csv(500, "2021-02").as_bytes());
    let site = Server::new(move |path| match path.contains("2021-01") {
        true => Reply::ok(file.clone()).at_most(file.len() as u64 / 2),
        false => Reply::ok(february.clone()),
    });
    json(&database.load("yellow", 2021, 2, &site.address).output().unwrap());
    let load = spawn(&mut database.load("yellow", 2021, 1, &site.address));
    let running = "SELECT count(*) FROM taxi_etl.runs WHERE status = 'running'";
    wait_until("the load runs", || database.value(running) == "1");
    let folder = tempfile::tempdir().unwrap();
    // the load ends while backups are made one after the other
    let mut rows = Vec::new();
    let mut load = Some(load);
    while load.is_some() {
        if load.as_mut().unwrap().try_wait().unwrap().is_some() {
            json(&load.take().unwrap().wait_with_output().unwrap());
        }
        let made = json(&backup(&database, folder.path(), &["--verify", "--jobs", "4"]).output().unwrap());
        let files = manifest(Path::new(made["path"].as_str().unwrap()))["targets"][0]["files"].clone();
        let count = |file: &serde_json::Value| file["rows"].as_u64().unwrap();
        rows.push(files.as_array().unwrap().iter().map(count).sum::<u64>());
    }
    assert_eq!((rows.first(), rows.last()), (Some(&500), Some(&20_500)), "{rows:?}");
    assert!(rows.iter().all(|rows| [500, 20_500].contains(rows)), "{rows:?}");
}

#[test]
fn the_password_reaches_pg_dump_in_the_environment_only() {
    if !has_pg_dump() || !Path::new("/proc/self/cmdline").exists() {
        return;
    }
    let database = Database::new("backed_up_private");
    let password = url::Url::parse(&database.url).unwrap().password().unwrap().to_owned();
    database.sql("CREATE TABLE locked (id int); BEGIN; LOCK TABLE locked");
    let folder = tempfile::tempdir().unwrap();
    let backing_up = spawn(&mut backup(&database, folder.path(), &[]));
    let read = |entry: &Path, name: &str| std::fs::read(entry.join(name)).unwrap_or_default();
    let mut found = None;
    wait_until("pg_dump runs", || {
        found = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path()).find(|entry| {
            let text = String::from_utf8_lossy(&read(entry, "cmdline")).into_owned();
            text.contains("--snapshot") && text.contains(folder.path().to_str().unwrap())
        });
        found.is_some()
    });
    let process = found.unwrap();
    let [command_line, environment] =
        ["cmdline", "environ"].map(|name| String::from_utf8_lossy(&read(&process, name)).into_owned());
    assert!(!command_line.contains(&password), "{command_line}");
    assert!(environment.contains(&format!("PGPASSWORD={password}")), "the connection is in the environment");
    database.sql("ROLLBACK");
    json(&backing_up.wait_with_output().unwrap());
}

#[test]
fn a_service_and_several_hosts_reach_pg_dump() {
    if !has_pg_dump() {
        return;
    }
    let database = Database::new("backed_up_service");
    database.sql("CREATE TABLE t (id int)");
    let url = url::Url::parse(&database.url).unwrap();
    let (port, password) = (url.port().unwrap(), url.password().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let services = folder.path().join("services");
    let service = format!(
        "[trips]\nhost=127.0.0.1,127.0.0.1\nport=1,{port}\nuser=taxi\npassword={password}\ndbname=backed_up_service\n\
         options=-c statement_timeout=0\n"
    );
    std::fs::write(&services, service).unwrap();
    let mut command = taxi(["backup", "--output", "json", "--to"]);
    command.arg(folder.path().join("backups")).env("PGSERVICEFILE", &services).env("PGSERVICE", "trips");
    assert_eq!(json(&command.output().unwrap())["database"], "backed_up_service");
}

#[test]
fn keep_removes_older_backups_of_the_database_and_nothing_else() {
    if !has_pg_dump() {
        return;
    }
    let (database, other) = (Database::new("kept"), Database::new("kept_other"));
    let folder = tempfile::tempdir().unwrap();
    let of_other = back_up(&other, folder.path());
    let first = back_up(&database, folder.path());
    let second = back_up(&database, folder.path());
    let ours = folder.path().join("kept-notes");
    std::fs::create_dir(&ours).unwrap();
    std::fs::write(ours.join("manifest.json"), "{}").unwrap();
    std::fs::write(folder.path().join("kept-20200101T000000.000Z"), "a file").unwrap();
    let made = json(&backup(&database, folder.path(), &["--keep", "2"]).output().unwrap());
    assert_eq!(made["removed"], serde_json::json!([first]));
    assert!(!first.exists() && second.exists() && of_other.exists() && ours.exists());
    assert_eq!(entries(folder.path()).len(), 5);
    let none = backup(&database, folder.path(), &["--keep", "0"]).output().unwrap();
    refusal(&none, 64);
}

#[test]
fn a_restored_backup_that_differs_from_the_database_ends_with_67_and_is_not_kept() {
    if !has_pg_dump() {
        return;
    }
    let database = Database::new("backed_up_wrong");
    json(&database.load("yellow", 2021, 1, testdata().to_str().unwrap()).output().unwrap());
    // a generated column whose function is not as immutable as it says
    database.sql(
        "CREATE FUNCTION place() RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT current_database()::text'; \
         ALTER TABLE yellow_tripdata ADD place text GENERATED ALWAYS AS (public.place()) STORED",
    );
    let folder = tempfile::tempdir().unwrap();
    let kept = back_up(&database, folder.path());
    let error =
        refusal(&backup(&database, folder.path(), &["--verify", "--keep", "1"]).output().unwrap(), 67);
    assert!(error.contains("yellow_tripdata_2021-01.csv in public.yellow_tripdata has 3001 rows"), "{error}");
    assert_eq!(entries(folder.path()), [kept.file_name().unwrap().to_str().unwrap()]);
    assert!(leftovers(&database, "backed_up_wrong").is_empty());
}

#[test]
fn a_killed_backup_leaves_no_backup_and_the_next_one_removes_its_rest() {
    if !has_pg_dump() {
        return;
    }
    let database = Database::new("backed_up_killed");
    database.sql("CREATE TABLE locked (id int); BEGIN; LOCK TABLE locked");
    let folder = tempfile::tempdir().unwrap();
    let mut killed = spawn(&mut backup(&database, folder.path(), &[]));
    wait_until("the backup has begun", || !entries(folder.path()).is_empty());
    let second = refusal(&backup(&database, folder.path(), &[]).output().unwrap(), 75);
    assert!(second.contains("another backup writes to"), "{second}");
    killed.kill().unwrap();
    killed.wait().unwrap();
    let rest = entries(folder.path());
    assert!(rest.len() == 1 && rest[0].starts_with('.') && rest[0].ends_with(".unfinished"), "{rest:?}");
    database.sql("ROLLBACK");
    let made = back_up(&database, folder.path());
    assert_eq!(entries(folder.path()), [made.file_name().unwrap().to_str().unwrap()]);
}

#[test]
fn a_cancelled_backup_leaves_nothing() {
    if !has_pg_dump() {
        return;
    }
    let database = Database::new("backed_up_cancelled");
    database.sql("CREATE TABLE locked (id int); BEGIN; LOCK TABLE locked");
    let folder = tempfile::tempdir().unwrap();
    let cancelled = spawn(&mut backup(&database, folder.path(), &[]));
    wait_until("the backup has begun", || !entries(folder.path()).is_empty());
    let pid = nix::unistd::Pid::from_raw(cancelled.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    refusal(&cancelled.wait_with_output().unwrap(), 143);
    assert!(entries(folder.path()).is_empty());
}

#[test]
fn the_embedded_server_is_backed_up_below_its_home_and_restored_on_another() {
    if !has_pg_dump() {
        return;
    }
    let absent = OwnServer::new();
    let error = refusal(&absent.taxi(&["backup"]).output().unwrap(), 78);
    assert!(error.contains("does not exist yet") && !absent.path().exists(), "{error}");
    let [server, other] = [OwnServer::created(None), OwnServer::created(None)];
    let source = testdata();
    let load = ["load", "--taxi", "yellow", "--year", "2021", "--month", "1", "--output", "json", "--source"];
    let load = [&load[..], &[source.to_str().unwrap()]].concat();
    json(&server.taxi(&load).output().unwrap());
    let made = json(&server.taxi(&["backup", "--output", "json"]).output().unwrap());
    let path = made["path"].as_str().unwrap();
    assert!(path.starts_with(server.path().join("backups/ny_taxi-").to_str().unwrap()), "{path}");
    let restored = json(&other.taxi(&["restore", path, "--output", "json"]).output().unwrap());
    assert_eq!((&restored["database"], &restored["replaced"]), (&"ny_taxi".into(), &true.into()));
    assert_eq!(json(&other.taxi(&load).output().unwrap())["status"], "skipped");
    let count = other.taxi(&["psql", "-Atc", "SELECT count(*) FROM yellow_tripdata"]).output().unwrap();
    assert_eq!(String::from_utf8(count.stdout).unwrap(), "3001\n");
}

#[test]
fn a_database_of_yours_needs_a_directory_for_its_backups() {
    let database = Database::new("backed_up_nowhere");
    let error = refusal(&on(&database, &["backup"]).stdin(Stdio::null()).output().unwrap(), 64);
    assert!(error.contains("needs --to"), "{error}");
}

#[test]
fn a_pg_dump_that_is_older_than_the_server_is_refused_with_the_package_to_install() {
    let Some(servers) = std::env::var_os("TAXI_REAL_SERVERS") else {
        return skipped("TAXI_REAL_SERVERS is not set");
    };
    let majors = entries(Path::new(&servers)).into_iter().filter_map(|name| name.parse::<u32>().ok());
    let newest = majors.max().unwrap();
    if Path::new(&format!("/usr/lib/postgresql/{newest}/bin/pg_dump")).exists() {
        return skipped(&format!("pg_dump {newest} is installed"));
    }
    // the programs of this version, except pg_dump
    let folder = open_tempdir();
    for program in std::fs::read_dir(Path::new(&servers).join(format!("{newest}/bin"))).unwrap() {
        let program = std::fs::canonicalize(program.unwrap().path()).unwrap();
        let name = program.file_name().unwrap();
        if name != "pg_dump" {
            std::os::unix::fs::symlink(&program, folder.path().join(name)).unwrap();
        }
    }
    let server = OwnServer::new();
    json(&server.taxi(&["up", "--output", "json"]).env("TAXI_POSTGRES_BIN", folder.path()).output().unwrap());
    let error =
        refusal(&server.taxi(&["backup"]).env("TAXI_POSTGRES_BIN", folder.path()).output().unwrap(), 78);
    assert!(error.contains(&format!("postgresql-client-{newest} (Debian, Ubuntu)")), "{error}");
}
