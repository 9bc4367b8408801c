//! `taxi upgrade` moves the data to a newer version of PostgreSQL, or leaves everything as it was.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::http::{Reply, Server};
use crate::support::{Database, OwnServer, SmallDisk, is_root, json, refusal, skipped, testdata, wait_until};

const FILE: &str = "green_tripdata_2020-03.csv";

/// The programs of a version in the folder `TAXI_REAL_SERVERS`, if it has `pg_upgrade`.
fn programs(major: u32) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("TAXI_REAL_SERVERS") else {
        skipped("TAXI_REAL_SERVERS is not set");
        return None;
    };
    let programs = Path::new(&folder).join(major.to_string()).join("bin");
    if !programs.join("pg_upgrade").exists() {
        skipped(&format!("TAXI_REAL_SERVERS has no pg_upgrade of PostgreSQL {major}"));
        return None;
    }
    Some(programs)
}

/// A server of one version, with a loaded month.
struct Old {
    server: OwnServer,
    programs: PathBuf,
    digest: Vec<String>,
}

impl Old {
    fn new(programs: PathBuf) -> Self {
        Self::on(OwnServer::created(Some(&programs)), programs)
    }

    fn on(server: OwnServer, programs: PathBuf) -> Self {
        let mut old = Self { server, programs, digest: Vec::new() };
        old.up();
        assert_eq!(json(&old.load().output().unwrap())["rows_inserted"], 2001);
        old.digest = old.database().digest("green_tripdata", FILE);
        old
    }

    fn up(&self) -> Value {
        let mut up = self.server.taxi(&["up", "--output", "json"]);
        json(&up.env("TAXI_POSTGRES_BIN", &self.programs).output().unwrap())
    }

    fn load(&self) -> Command {
        let args = ["load", "--taxi", "green", "--year", "2020", "--month", "3", "--output", "json"];
        let mut load = self.server.taxi(&args);
        load.arg("--source").arg(testdata());
        load
    }

    fn database(&self) -> Database {
        let url = self.server.status()["database_url"].as_str().unwrap().to_owned();
        Database::connect(url, "ny_taxi".to_owned())
    }

    fn upgrade(&self, new: &Path) -> Command {
        let mut upgrade = self.server.taxi(&["upgrade", "--output", "json"]);
        upgrade.arg("--postgres-bin").arg(new);
        upgrade
    }

    fn version(&self) -> String {
        self.server.status()["version"].as_str().unwrap().split('.').next().unwrap().to_owned()
    }

    /// Checks that the old server works as before, and that nothing of the upgrade is left.
    fn check_unchanged(&self, major: u32) {
        assert_eq!(self.version(), major.to_string());
        assert_eq!(self.database().digest("green_tripdata", FILE), self.digest);
        assert!(!self.server.path().join("upgrade").exists());
        assert!(!self.server.path().join(format!("data.{major}")).exists());
    }
}

/// Starts a command and waits for a notice on its stderr.
fn start_until(mut command: Command, notice: &str) -> (Child, std::thread::JoinHandle<String>) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut text = String::new();
    while !text.contains(notice) {
        assert_ne!(stderr.read_line(&mut text).unwrap(), 0, "no notice {notice:?}: {text}");
    }
    let rest = std::thread::spawn(move || {
        stderr.lines().map_while(Result::ok).for_each(|line| text.push_str(&line));
        text
    });
    (child, rest)
}

#[test]
fn the_data_moves_to_a_newer_version_and_stays_the_same() {
    std::thread::scope(|scope| {
        for (from, to) in [(15, 17), (15, 18), (17, 18)] {
            scope.spawn(move || {
                if let (Some(old), Some(new)) = (programs(from), programs(to)) {
                    check_upgrade(from, &old, to, &new);
                }
            });
        }
    });
}

fn check_upgrade(from: u32, old: &Path, to: u32, new: &Path) {
    let old = Old::new(old.to_owned());
    let database = old.database();
    for statement in [
        "CREATE ROLE reader LOGIN PASSWORD 'their own'",
        "GRANT SELECT ON green_tripdata TO reader",
        "ALTER SYSTEM SET work_mem = '7MB'",
        "CREATE DATABASE \"another one\" TEMPLATE template0",
        "CREATE MATERIALIZED VIEW totals AS SELECT count(*) FROM green_tripdata",
    ] {
        database.sql(statement);
    }
    let url = old.server.status()["database_url"].as_str().unwrap().replace("/ny_taxi", "/another%20one");
    let other = Database::connect(url.clone(), String::new());
    other.sql(
        "CREATE SCHEMA \"My Schema\"; CREATE TABLE \"My Schema\".\"It's\" AS SELECT generate_series(1, 7)",
    );
    let with_checksums = from == 17;
    if with_checksums {
        enable_checksums(&old);
    }
    let status = old.server.status();
    let was_running = status["state"] == "running";

    let output = old.upgrade(new).args(["--to", &to.to_string()]).output().unwrap();
    let upgraded = json(&output);
    assert_eq!((&upgraded["from"], &upgraded["to"]), (&from.into(), &to.into()));
    // the month, its run, the ledger's version, the view, the table of the other database
    assert_eq!(upgraded["rows"], 2001 + 1 + 1 + 1 + 7, "{upgraded}");
    let kept = old.server.path().join(format!("data.{from}"));
    assert_eq!(upgraded["old_data_dir"], kept.to_str().unwrap());
    assert_eq!(std::fs::read_to_string(kept.join("PG_VERSION")).unwrap().trim(), from.to_string());
    assert!(!old.server.path().join("upgrade").exists());
    assert_eq!(upgraded["state"], if was_running { "running" } else { "stopped" });

    // the programs of the last start are used again, without an option
    json(&old.server.taxi(&["up", "--output", "json"]).env("TAXI_POSTGRES_BIN", new).output().unwrap());
    assert_eq!(old.version(), to.to_string());
    json(&old.server.taxi(&["down", "--output", "json"]).output().unwrap());
    json(&old.server.taxi(&["up", "--output", "json"]).output().unwrap());
    assert_eq!(old.version(), to.to_string());
    let database = old.database();
    assert_eq!(database.digest("green_tripdata", FILE), old.digest);
    assert_eq!(
        Database::connect(url, String::new()).value("SELECT count(*) FROM \"My Schema\".\"It's\""),
        "7"
    );
    assert_eq!(database.value("SHOW work_mem"), "7MB");
    assert_eq!(database.value("SHOW data_checksums"), if with_checksums { "on" } else { "off" });
    assert_eq!(database.value("SELECT datcollate FROM pg_database WHERE datname = 'ny_taxi'"), "C");
    let analyzed = "SELECT count(*) > 0 FROM pg_stats WHERE tablename LIKE 'green%' AND attname = 'vendorid'";
    assert_eq!(database.value(analyzed), "t", "the planner has no statistics");
    let url = database.url.split_once('@').map(|(_, host)| format!("postgresql://reader:their%20own@{host}"));
    let reader = Database::connect(url.unwrap(), String::new());
    assert_eq!(reader.value("SELECT count(*) FROM green_tripdata"), "2001");

    assert_eq!(json(&old.load().output().unwrap())["status"], "skipped");
    assert_eq!(json(&old.load().arg("--force").output().unwrap())["rows_inserted"], 0);

    let again = json(&old.upgrade(new).args(["--to", &to.to_string()]).output().unwrap());
    assert_eq!(
        (&again["from"], &again["to"], &again["old_data_dir"]),
        (&to.into(), &to.into(), &Value::Null)
    );
}

/// Enables data checksums, which needs a server that was stopped.
fn enable_checksums(old: &Old) {
    json(&old.server.taxi(&["down", "--output", "json"]).output().unwrap());
    let data = old.server.path().join("data");
    let mut enable = Command::new(old.programs.join("pg_checksums"));
    enable.args(["--enable", "--pgdata"]).arg(&data).current_dir("/");
    if is_root() {
        let owner = std::fs::metadata(&data).unwrap();
        enable.uid(owner.uid()).gid(owner.gid());
    }
    assert!(enable.output().unwrap().status.success());
}

#[test]
fn a_failed_check_leaves_everything_as_it_was() {
    let (Some(old), Some(new)) = (programs(15), programs(17)) else { return };
    let old = Old::new(old);
    let before = old.server.status();
    // later versions store this type in another way
    old.database().sql("CREATE TABLE permissions (entry aclitem)");
    let output = old.upgrade(&new).output().unwrap();
    let error = refusal(&output, 78);
    for part in [
        "cannot upgrade to PostgreSQL 17; the data stays with PostgreSQL 15",
        "pg_upgrade --check failed",
        "aclitem",
        "public.permissions.entry",
    ] {
        assert!(error.contains(part), "no {part:?}: {error}");
    }
    assert!(old.server.path().join("log/pg_upgrade").is_dir(), "the logs are kept");
    assert_eq!(old.server.status(), before);
    old.check_unchanged(15);

    old.database().sql("DROP TABLE permissions");
    json(&old.server.taxi(&["down", "--output", "json"]).output().unwrap());
    assert_eq!(json(&old.upgrade(&new).output().unwrap())["state"], "stopped");
    assert_eq!(old.version(), "17");
}

#[test]
fn an_upgrade_that_is_killed_at_any_moment_leaves_the_data_usable() {
    let (Some(old), Some(new)) = (programs(15), programs(17)) else { return };
    let old = Old::new(old);
    for notice in ["counting the rows", "copying the data", "comparing the rows"] {
        let (mut upgrade, stderr) = start_until(old.upgrade(&new), notice);
        kill(Pid::from_raw(upgrade.id() as i32), Signal::SIGKILL).unwrap();
        upgrade.wait().unwrap();
        stderr.join().unwrap();
        old.up();
        old.check_unchanged(15);
    }

    let (upgrade, stderr) = start_until(old.upgrade(&new), "checking whether");
    kill(Pid::from_raw(upgrade.id() as i32), Signal::SIGTERM).unwrap();
    let ended = upgrade.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(143), "{}", stderr.join().unwrap());
    old.check_unchanged(15);

    json(&old.upgrade(&new).output().unwrap());
    assert_eq!(old.version(), "17");
    assert_eq!(old.database().digest("green_tripdata", FILE), old.digest);
    a_verified_upgrade_is_completed_after_an_interruption(&old, &new);
}

fn a_verified_upgrade_is_completed_after_an_interruption(old: &Old, new: &Path) {
    let home = old.server.path();
    // as if the upgrade had been killed before its first rename, between the two, or after the second
    for renames in [0, 1, 2] {
        json(&old.server.taxi(&["down", "--output", "json"]).output().unwrap());
        std::fs::create_dir(home.join("upgrade")).unwrap();
        std::fs::write(home.join("upgrade/verified"), "").unwrap();
        if renames < 2 {
            std::fs::rename(home.join("data"), home.join("upgrade/data")).unwrap();
        }
        if renames == 0 {
            std::fs::rename(home.join("data.15"), home.join("data")).unwrap();
        }
        assert_eq!(old.server.status()["state"], "stopped", "{renames}");
        let mut up = old.server.taxi(&["up", "--output", "json"]);
        json(&up.env("TAXI_POSTGRES_BIN", new).output().unwrap());
        assert_eq!(old.version(), "17", "{renames}");
        assert_eq!(old.database().digest("green_tripdata", FILE), old.digest, "{renames}");
        assert!(!home.join("upgrade").exists() && home.join("data.15/PG_VERSION").exists(), "{renames}");
    }
}

#[test]
fn a_full_disk_leaves_the_old_data_usable() {
    let (Some(old), Some(new)) = (programs(15), programs(17)) else { return };
    let Some(disk) = SmallDisk::mount("400m") else {
        return skipped("only root can mount a small disk");
    };
    let filler = disk.path().join("filler");
    let fill = |bytes: u64| std::fs::write(&filler, vec![1; bytes as usize]);
    let free = || {
        let disk = nix::sys::statvfs::statvfs(disk.path()).unwrap();
        disk.blocks_available() as u64 * disk.fragment_size() as u64
    };
    let old = Old::on(OwnServer::at(disk.path()), old);

    // too little space from the beginning
    fill(free() - (100 << 20)).unwrap();
    let error = refusal(&old.upgrade(&new).output().unwrap(), 74);
    assert!(error.contains("an upgrade copies the data and needs"), "{error}");
    old.check_unchanged(15);

    // the disk fills up while the data is copied
    std::fs::remove_file(&filler).unwrap();
    let (upgrade, stderr) = start_until(old.upgrade(&new), "checking whether");
    let _ = fill(free());
    let ended = upgrade.wait_with_output().unwrap();
    std::fs::remove_file(&filler).unwrap();
    let stderr = stderr.join().unwrap();
    assert_eq!(ended.status.code(), Some(74), "{stderr}");
    assert!(stderr.contains("the data stays with PostgreSQL 15"), "{stderr}");
    old.up();
    old.check_unchanged(15);
}

#[test]
fn an_upgrade_is_refused_while_loads_run() {
    let server = OwnServer::created(None);
    json(&server.taxi(&["up", "--output", "json"]).output().unwrap());
    let file = crate::support::month::yellow(20_000);
    let site = Server::new(move |_| Reply::ok(file.clone()).at_most(file.len() as u64 / 600));
    let mut load = server
        .taxi(&["load", "--taxi", "yellow", "--year", "2021", "--month", "1", "--source", &site.address])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let runs = || json(&server.taxi(&["runs", "--status", "running", "--output", "json"]).output().unwrap());
    wait_until("the load runs", || !runs()["runs"].as_array().unwrap().is_empty());
    let error = refusal(&server.taxi(&["upgrade"]).output().unwrap(), 75);
    let expected = format!("(pid {})", load.id());
    assert!(error.contains(&expected) && error.contains("'taxi down --force' to end them"), "{error}");
    assert!(load.try_wait().unwrap().is_none(), "the load goes on");
    load.kill().unwrap();
    load.wait().unwrap();
}

#[test]
fn a_missing_version_is_named_with_the_package_to_install() {
    let error = refusal(&OwnServer::new().taxi(&["upgrade"]).output().unwrap(), 78);
    assert!(error.contains("there is no embedded server in"), "{error}");
    let server = OwnServer::created(None);
    json(&server.taxi(&["up", "--output", "json"]).output().unwrap());
    let error = refusal(&server.taxi(&["upgrade", "--to", "99"]).output().unwrap(), 78);
    for part in [
        "cannot find PostgreSQL 99",
        "postgresql-99",
        "postgresql99-server",
        "postgresql@99",
        "--postgres-bin",
    ] {
        assert!(error.contains(part), "no {part:?}: {error}");
    }
    let error = refusal(&server.taxi(&["upgrade", "--to", "14"]).output().unwrap(), 64);
    assert!(error.contains("cannot be downgraded"), "{error}");
}
