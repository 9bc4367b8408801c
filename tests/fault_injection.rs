//! Faults at random instants, hundreds of them: after each the target is as it was or complete, the ledger says the same, the
//! next load completes it, and nothing is left behind.
//!
//! `TAXI_FAULTS` says how many (30), `TAXI_FAULT_SEED` which (1): the same seed makes the same faults, though not to the
//! microsecond. A failure names the seed, the round and the fault.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fastrand::Rng;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::http::{Reply, Request, Server};
use crate::support::month::{gzip, yellow_csv};
use crate::support::proxy::{Fault, Proxy, Way};
use crate::support::{Database, OwnServer, SmallDisk, json, skipped, wait_until};

const ROWS: u32 = 20_000;
/// Of which so many are there before some of the faults.
const ROWS_BEFORE: u32 = 6_000;
const REJECTS: u32 = 3;
/// How long a database may not answer here.
const SILENCE: Duration = Duration::from_secs(2);

/// What happens during a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    ClientKilled,
    ServerKilled,
    BackendKilled,
    ConnectionCut,
    CommitAnswerLost,
    DatabaseStalled,
    DatabaseSilent,
    DiskFull,
    TwoAtOnce,
    ClockJumped,
    DownloadCut,
    DownloadStalled,
    FileChanged,
    SourceUnavailable,
    FileDamaged,
}

/// Every kind, the quick ones more often than those that take a restart.
const KINDS: [(Kind, u32); 15] = [
    (Kind::ClientKilled, 6),
    (Kind::ServerKilled, 2),
    (Kind::BackendKilled, 2),
    (Kind::ConnectionCut, 6),
    (Kind::CommitAnswerLost, 3),
    (Kind::DatabaseStalled, 1),
    (Kind::DatabaseSilent, 1),
    (Kind::DiskFull, 1),
    (Kind::TwoAtOnce, 3),
    (Kind::ClockJumped, 1),
    (Kind::DownloadCut, 4),
    (Kind::DownloadStalled, 1),
    (Kind::FileChanged, 2),
    (Kind::SourceUnavailable, 2),
    (Kind::FileDamaged, 2),
];

/// What the source does to its answers.
#[derive(Clone, Copy, Debug)]
enum Misbehaviour {
    None,
    /// Every answer ends after so many bytes.
    Cut(usize),
    /// The first answer says nothing more after so many bytes.
    Stall(usize),
    /// The first answer is of another file, and ends after so many bytes.
    Change(usize),
    /// So many answers are refusals.
    Refuse(usize),
    /// The byte at this place is another.
    Damage(usize),
    /// The file ends here.
    Shorten(usize),
    /// The first answer ends after so many bytes, and then there is no such file.
    Vanish(usize),
}

/// A server, a source, and what the target holds when all is well.
struct Site {
    server: OwnServer,
    _disk: Option<SmallDisk>,
    url: String,
    proxy: Proxy,
    source: Server,
    misbehaviour: Arc<Mutex<(Misbehaviour, usize)>>,
    file_bytes: usize,
    /// Of the file that the source had before.
    some_bytes: usize,
    temp: tempfile::TempDir,
    /// Digests of the target: empty, with some rows, complete.
    empty: Vec<String>,
    some: Vec<String>,
    complete: Vec<String>,
    /// How long an undisturbed load takes, the bytes it sends and gets, and how often it commits.
    took: Duration,
    bytes: (u64, u64, u64),
}

/// A month with rows of other months among its own, some that repeat a key, and some that do not fit.
fn month(rows: u32) -> Vec<u8> {
    let mut text = String::new();
    for (index, line) in yellow_csv(rows, "2021-01").lines().enumerate() {
        let line = match index % 1000 {
            17 => line.replace("2021-01-", "2020-12-"),
            18 => line.replace("2021-01-", "2008-02-"),
            _ => line.to_owned(),
        };
        let _ = writeln!(text, "{line}");
        if index % 5000 == 42 {
            let _ = writeln!(text, "{line}");
        }
    }
    for _ in 0..REJECTS {
        text.push_str("1,this is no trip\n");
    }
    gzip(text.as_bytes())
}

const TARGET: &str = "SELECT count(*), count(DISTINCT unique_row_id), \
                      md5(string_agg(t::text, E'\\n' ORDER BY t::text COLLATE \"C\")) FROM yellow_tripdata AS t";

impl Site {
    fn new(server: OwnServer, disk: Option<SmallDisk>) -> Self {
        let up = json(&server.taxi(&["up", "--output", "json"]).output().unwrap());
        let url = up["database_url"].as_str().unwrap().to_owned();
        let address = url.split_once('@').unwrap().1.split_once('/').unwrap().0;
        let (some, whole) = (month(ROWS_BEFORE), month(ROWS));
        let (file_bytes, some_bytes) = (whole.len(), some.len());
        let misbehaviour = Arc::new(Mutex::new((Misbehaviour::None, 0)));
        let shared = Arc::clone(&misbehaviour);
        let source = Server::answering(move |request| {
            let mut state = shared.lock().unwrap();
            state.1 += 1;
            answer(*state, request, &some, &whole)
        });
        let proxy = Proxy::new(address.parse().unwrap());
        let temp = tempfile::tempdir().unwrap();
        let (empty, some, complete) = (Vec::new(), Vec::new(), Vec::new());
        let (took, bytes) = (Duration::ZERO, (0, 0, 0));
        let mut site = Self {
            server,
            _disk: disk,
            url,
            proxy,
            source,
            misbehaviour,
            file_bytes,
            some_bytes,
            temp,
            empty,
            some,
            complete,
            took,
            bytes,
        };
        site.prepare();
        site
    }

    /// Loads undisturbed, and keeps what comes of it.
    fn prepare(&mut self) {
        // the smaller file is what the source has had before
        self.misbehave(Misbehaviour::Change(usize::MAX));
        json(&self.load(&self.url).output().unwrap());
        let database = self.database();
        self.some = database.sql(TARGET).remove(0);
        database.sql(
            "CREATE TABLE target_before AS TABLE yellow_tripdata; CREATE TABLE runs_before AS TABLE taxi_etl.runs; \
             CREATE TABLE rejects_before AS TABLE taxi_etl.rejects",
        );
        self.reset(false);
        self.empty = database.sql(TARGET).remove(0);
        self.proxy.arm(Fault::None);
        json(&self.load(&self.proxied()).output().unwrap());
        self.bytes = self.proxy.seen();
        self.complete = database.sql(TARGET).remove(0);
        let mut took = Vec::new();
        for _ in 0..3 {
            self.reset(false);
            let began = Instant::now();
            json(&self.load(&self.url).output().unwrap());
            took.push(began.elapsed());
        }
        took.sort();
        self.took = took[1];
        assert!(self.complete[0] > self.complete[1], "no row repeats a key: {:?}", self.complete);
    }

    fn database(&self) -> Database {
        Database::connect(self.url.clone(), String::new())
    }

    fn misbehave(&self, misbehaviour: Misbehaviour) {
        *self.misbehaviour.lock().unwrap() = (misbehaviour, 0);
    }

    /// The target as it was before the fault: empty, or with some rows.
    fn reset(&self, some: bool) {
        self.misbehave(Misbehaviour::None);
        let database = self.database();
        database
            .sql("TRUNCATE yellow_tripdata; TRUNCATE taxi_etl.runs, taxi_etl.rejects, taxi_etl.task_runs");
        if some {
            database.sql(
                "INSERT INTO yellow_tripdata TABLE target_before; \
                 INSERT INTO taxi_etl.runs OVERRIDING SYSTEM VALUE TABLE runs_before; \
                 INSERT INTO taxi_etl.rejects TABLE rejects_before",
            );
        }
    }

    fn load(&self, url: &str) -> Command {
        let mut load = self.server.taxi(&["load", "--taxi", "yellow", "--year", "2021", "--month", "1"]);
        load.args(["--output", "json", "--max-rejects", "5", "--source-timeout", "2s", "--retries", "3"]);
        load.args(["--source", &self.source.address]).env("DATABASE_URL", url);
        load.env("TAXI_DATABASE_TIMEOUT", format!("{}ms", SILENCE.as_millis()));
        load.env("TMPDIR", self.temp.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        load
    }

    fn proxied(&self) -> String {
        let (credentials, place) = self.url.split_once('@').unwrap();
        let name = place.split_once('/').unwrap().1;
        format!("{credentials}@{}/{name}?sslmode=disable", self.proxy.address)
    }

    /// An instant of a load, or a little behind its end.
    fn instant(&self, rng: &mut Rng) -> Duration {
        self.took.mul_f64(rng.f64() * 1.05)
    }
}

fn answer(
    (misbehaviour, count): (Misbehaviour, usize),
    request: &Request,
    some: &[u8],
    whole: &[u8],
) -> Reply {
    let ranged = || Reply::ranged(whole, "\"whole\"", request);
    match (misbehaviour, count) {
        (Misbehaviour::Cut(at), _) => ranged().cut_at(at),
        (Misbehaviour::Stall(at), 1) => ranged().stalling_at(at),
        (Misbehaviour::Change(at), 1) => Reply::ranged(some, "\"some\"", request).cut_at(at.min(some.len())),
        (Misbehaviour::Refuse(times), count) if count <= times => Reply::status(503),
        (Misbehaviour::Damage(at), _) => {
            let mut damaged = whole.to_vec();
            damaged[at] ^= 0x55;
            Reply::ok(damaged)
        }
        (Misbehaviour::Shorten(at), _) => Reply::ok(whole[..at].to_vec()),
        (Misbehaviour::Vanish(at), 1) => ranged().cut_at(at),
        (Misbehaviour::Vanish(_), _) => Reply::status(404),
        _ => ranged(),
    }
}

/// A load's end: what it said, and whether it says that it succeeded.
struct Ended {
    said: String,
    succeeded: bool,
}

/// Waits for it: whatever happens, a load ends.
fn end(mut load: Child) -> Ended {
    wait_until("the load has ended", || load.try_wait().unwrap().is_some());
    let output = load.wait_with_output().unwrap();
    let result: Option<Value> = serde_json::from_slice(&output.stdout).ok();
    let status = result.map(|result| result["status"].clone()).unwrap_or_default();
    let said = format!("{:?} {status}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    Ended { said, succeeded: output.status.success() }
}

fn kill_all(processes: &[Pid]) {
    processes.iter().for_each(|process| _ = kill(*process, Signal::SIGKILL));
}

/// Makes the fault during a load; returns the ends of the loads, and how the fault is described.
fn strike(kind: Kind, site: &Site, rng: &mut Rng) -> (Vec<Ended>, String) {
    let spawn = |url: &str| site.load(url).spawn().unwrap();
    let behind_proxy = |fault: Fault| {
        site.proxy.arm(fault);
        let ended = end(spawn(&site.proxied()));
        site.proxy.arm(Fault::None);
        (vec![ended], format!("{fault:?}"))
    };
    let with_source = |misbehaviour: Misbehaviour| {
        site.misbehave(misbehaviour);
        (vec![end(spawn(&site.url))], format!("{misbehaviour:?}"))
    };
    let place = rng.usize(..site.file_bytes);
    match kind {
        Kind::ClientKilled => {
            let (mut load, delay) = (spawn(&site.url), site.instant(rng));
            std::thread::sleep(delay);
            load.kill().unwrap();
            (vec![end(load)], format!("after {delay:?}"))
        }
        Kind::ServerKilled => {
            let (load, delay) = (spawn(&site.url), site.instant(rng));
            std::thread::sleep(delay);
            kill_all(&site.server.processes());
            (vec![end(load)], format!("after {delay:?}"))
        }
        Kind::BackendKilled => {
            let (load, delay) = (spawn(&site.url), site.instant(rng));
            let database = site.database();
            std::thread::sleep(delay);
            let backends =
                database.sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'taxi-etl'");
            let backends: Vec<Pid> =
                backends.iter().map(|row| Pid::from_raw(row[0].parse().unwrap())).collect();
            let chosen = rng.choice(&backends).copied();
            kill_all(chosen.as_slice());
            (vec![end(load)], format!("{chosen:?} after {delay:?}"))
        }
        Kind::ConnectionCut => {
            let (to_server, to_client, _) = site.bytes;
            behind_proxy(match rng.bool() {
                true => Fault::Cut(Way::ToServer, rng.u64(..to_server)),
                false => Fault::Cut(Way::ToClient, rng.u64(..to_client)),
            })
        }
        Kind::CommitAnswerLost => behind_proxy(Fault::LoseCommit(rng.u64(..site.bytes.2))),
        Kind::DatabaseStalled => behind_proxy(Fault::Stall(
            Way::ToServer,
            rng.u64(..site.bytes.0),
            SILENCE.mul_f64(rng.f64() * 0.6),
        )),
        Kind::DatabaseSilent => {
            // for ever, half of the time before the first row
            let places = if rng.bool() { 4000 } else { site.bytes.0 };
            behind_proxy(Fault::Stall(Way::ToServer, rng.u64(..places), Duration::from_secs(3600)))
        }
        Kind::DiskFull => {
            let ballast = site.server.path().join("ballast");
            let left = rng.u64(..30 << 20);
            fill(&ballast, left);
            let ended = end(spawn(&site.url));
            std::fs::remove_file(&ballast).unwrap();
            (vec![ended], format!("{left} bytes left"))
        }
        Kind::TwoAtOnce => {
            let (mut one, other) = (spawn(&site.url), spawn(&site.url));
            let delay = site.instant(rng);
            if rng.bool() {
                std::thread::sleep(delay);
                one.kill().unwrap();
            }
            (vec![end(one), end(other)], format!("one of them perhaps killed after {delay:?}"))
        }
        Kind::ClockJumped => {
            let (clock, delay) = (site.temp.path().join("clock"), site.instant(rng));
            let jump = ["-3600", "+3600", "-400d", "+400d"][rng.usize(..4)];
            std::fs::write(&clock, "+0\n").unwrap();
            let mut load = site.load(&site.url);
            load.env("LD_PRELOAD", clock_library().unwrap()).env("FAKETIME_TIMESTAMP_FILE", &clock);
            load.env("FAKETIME_NO_CACHE", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                .env("FAKETIME_DONT_RESET", "1");
            let load = load.spawn().unwrap();
            std::thread::sleep(delay);
            std::fs::write(&clock, format!("{jump}\n")).unwrap();
            let ended = end(load);
            std::fs::remove_file(&clock).unwrap();
            (vec![ended], format!("by {jump} after {delay:?}"))
        }
        Kind::DownloadCut => with_source(Misbehaviour::Cut(place)),
        Kind::DownloadStalled => with_source(Misbehaviour::Stall(place)),
        Kind::FileChanged => with_source(Misbehaviour::Change(place % site.some_bytes)),
        Kind::SourceUnavailable => match rng.u8(..3) {
            0 => with_source(Misbehaviour::Vanish(place)),
            _ => with_source(Misbehaviour::Refuse(rng.usize(1..6))),
        },
        Kind::FileDamaged => match rng.bool() {
            true => with_source(Misbehaviour::Damage(place)),
            false => with_source(Misbehaviour::Shorten(place)),
        },
    }
}

/// Fills the disk with a file, but for some bytes.
fn fill(path: &Path, left: u64) {
    let disk = nix::sys::statvfs::statvfs(path.parent().unwrap()).unwrap();
    let free = disk.blocks_available() * disk.fragment_size();
    std::fs::write(path, vec![0; free.saturating_sub(left) as usize]).unwrap();
}

/// The library that gives a process another clock, where it is installed.
fn clock_library() -> Option<PathBuf> {
    std::env::var_os("TAXI_FAKETIME").map(PathBuf::from)
}

/// What must hold after a fault, and after the load that follows it. Returns whether the load had taken effect.
fn check(kind: Kind, site: &Site, before: &[String], ended: &[Ended], context: &str) -> bool {
    let said: String = ended.iter().map(|ended| ended.said.as_str()).collect();
    // a server that was killed is brought up again, as the next load would
    json(&site.server.taxi(&["up", "--output", "json"]).output().unwrap());
    let database = site.database();
    let number = |query: &str| database.value(query).parse::<u64>().unwrap();
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'taxi-etl'";
    wait_until("the sessions are gone", || number(sessions) == 0);

    let target = database.sql(TARGET).remove(0);
    let is_complete = target == site.complete;
    assert!(is_complete || target == before, "{context}: half a load: {target:?}\n{said}");
    let succeeded = "SELECT count(*) FROM taxi_etl.runs WHERE status = 'succeeded'";
    let runs_before = u64::from(before == site.some);
    assert_eq!(
        number(succeeded),
        runs_before + u64::from(is_complete),
        "{context}: the ledger disagrees\n{said}"
    );
    let rejects = u64::from(REJECTS) * number(succeeded);
    assert_eq!(
        number("SELECT count(*) FROM taxi_etl.rejects"),
        rejects,
        "{context}: rejects disagree\n{said}"
    );
    let lost = "SELECT count(*) FROM taxi_etl.runs WHERE status = 'lost'";
    let claimed = ended.iter().any(|ended| ended.succeeded);
    assert!(is_complete || !claimed, "{context}: a load says that it succeeded\n{said}");

    site.misbehave(Misbehaviour::None);
    let next = json(&site.load(&site.url).output().unwrap());
    let expected = if is_complete { "skipped" } else { "loaded" };
    assert_eq!(next["status"], expected, "{context}: the next load\n{said}");
    assert_eq!(database.sql(TARGET).remove(0), site.complete, "{context}: after the next load\n{said}");
    wait_until("the next load's sessions are gone", || number(sessions) == 0);
    for (what, query) in [
        (
            "staging tables",
            "SELECT count(*) FROM pg_tables WHERE schemaname = 'taxi_etl' AND tablename LIKE 'staging%'",
        ),
        ("locks", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"),
        ("runs under way", "SELECT count(*) FROM taxi_etl.runs WHERE status = 'running'"),
    ] {
        assert_eq!(number(query), 0, "{context}: {what} are left\n{said}");
    }
    // who has ended by itself has said how
    assert!(number(lost) == 0 || kind < Kind::ClockJumped, "{context}: runs are lost\n{said}");
    assert!(kind != Kind::DatabaseStalled || claimed, "{context}: a short stall was the end\n{said}");
    let left: Vec<_> =
        std::fs::read_dir(site.temp.path()).unwrap().flatten().map(|entry| entry.path()).collect();
    assert!(left.is_empty(), "{context}: files are left: {left:?}");
    is_complete
}

/// What came of the faults of a kind.
#[derive(Default)]
struct Tally {
    faults: u32,
    failed: u32,
    complete: u32,
}

#[test]
fn no_fault_loses_or_doubles_a_row() {
    let setting = |name: &str, default: u64| {
        std::env::var(name)
            .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
    };
    let (faults, seed) = (setting("TAXI_FAULTS", 30), setting("TAXI_FAULT_SEED", 1));
    let mut rng = Rng::with_seed(seed);
    let site = Site::new(OwnServer::new(), None);
    let small = SmallDisk::mount("320m").map(|disk| {
        let server = OwnServer::at(disk.path());
        Site::new(server, Some(disk))
    });
    if small.is_none() {
        skipped("no small disk can be mounted: no fault is a full disk");
    }
    if clock_library().is_none() {
        skipped("TAXI_FAKETIME names no libfaketime: no clock jumps");
    }
    let kinds: Vec<Kind> = KINDS
        .iter()
        .filter(|(kind, _)| match kind {
            Kind::DiskFull => small.is_some(),
            Kind::ClockJumped => clock_library().is_some(),
            _ => true,
        })
        .flat_map(|(kind, weight)| std::iter::repeat_n(*kind, *weight as usize))
        .collect();
    let mut tallies: BTreeMap<Kind, Tally> = BTreeMap::new();
    let began = Instant::now();
    for round in 0..faults {
        // each at least once, then as they fall
        let kind = match KINDS.get(round as usize) {
            Some((kind, _)) if kinds.contains(kind) => *kind,
            _ => kinds[rng.usize(..kinds.len())],
        };
        let site = match (&small, kind) {
            (Some(small), Kind::DiskFull) => small,
            _ => &site,
        };
        // of a file that is loaded already nothing would be read
        let some = rng.bool() && kind != Kind::FileChanged;
        site.reset(some);
        let before = if some { &site.some } else { &site.empty };
        let (ended, described) = strike(kind, site, &mut rng);
        let context = format!("seed {seed}, round {round}, {kind:?} {described}, some rows before: {some}");
        let complete = check(kind, site, before, &ended, &context);
        let tally = tallies.entry(kind).or_default();
        tally.faults += 1;
        tally.failed += u32::from(ended.iter().any(|ended| !ended.succeeded));
        tally.complete += u32::from(complete);
        if (round + 1) % 100 == 0 {
            eprintln!("{} faults after {:.0} s", round + 1, began.elapsed().as_secs_f64());
        }
    }
    let mut text = format!(
        "{faults} faults with seed {seed} in {:.0} s, a load takes {:.2} s: no row was lost, none doubled\n",
        began.elapsed().as_secs_f64(),
        site.took.as_secs_f64()
    );
    let _ = writeln!(text, "{:20} {:>6} {:>11} {:>15}", "fault", "tried", "load failed", "took effect");
    for (kind, tally) in tallies {
        let kind = format!("{kind:?}");
        let _ = writeln!(text, "{kind:20} {:>6} {:>11} {:>15}", tally.faults, tally.failed, tally.complete);
    }
    eprint!("{text}");
}
