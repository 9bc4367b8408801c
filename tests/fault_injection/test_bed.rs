//! The test bed for faults: a server, a proxy in front of it, a source with faults, and the expected contents
//! of the target.

use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::support::http::{Reply, Request, Server};
use crate::support::month::{gzip, yellow_csv};
use crate::support::pooler::Pooler;
use crate::support::proxy::{Fault, Proxy};
use crate::support::{Database, OwnServer, SmallDisk, json};

const ROWS: u32 = 20_000;
/// Rows that the target holds before some of the faults.
const ROWS_BEFORE: u32 = 6_000;
pub(crate) const REJECTS: u32 = 3;
/// The timeout after which a load gives up on the database.
pub(crate) const DATABASE_TIMEOUT: Duration = Duration::from_secs(2);

/// A fault of the source.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SourceFault {
    None,
    /// Every response ends after this number of bytes.
    Cut(usize),
    /// The first response stalls after this number of bytes.
    Stall(usize),
    /// The first response is from another file and ends after this number of bytes.
    Change(usize),
    /// This number of responses have the status 503.
    Refuse(usize),
    /// The byte at this offset is wrong.
    Damage(usize),
    /// The file ends at this offset.
    Shorten(usize),
    /// The first response ends after this number of bytes, and the next ones have the status 404.
    Vanish(usize),
}

/// A server, a source, and the expected contents of the target.
pub(crate) struct TestBed {
    pub(crate) server: OwnServer,
    _disk: Option<SmallDisk>,
    pub(crate) url: String,
    /// The same database, through the proxy.
    pub(crate) proxied_url: String,
    pub(crate) proxy: Proxy,
    /// A pooler in session mode in front of the server, where PgBouncer is installed.
    pub(crate) pooler: Option<Mutex<Pooler>>,
    source: Server,
    source_fault: Arc<Mutex<(SourceFault, usize)>>,
    pub(crate) file_bytes: usize,
    /// Length of the file that the source had before.
    pub(crate) old_file_bytes: usize,
    pub(crate) temp: tempfile::TempDir,
    /// Digests of the target: empty, with some rows, and with all rows of the month.
    pub(crate) empty: Vec<String>,
    pub(crate) partial: Vec<String>,
    pub(crate) complete: Vec<String>,
    /// The median duration of a load without faults, the bytes it sends and receives, and the number of its
    /// COMMITs.
    pub(crate) load_duration: Duration,
    pub(crate) bytes: (u64, u64, u64),
}

/// Returns a gzipped month with out-of-period rows, rows that repeat a key, and invalid rows.
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
        text.push_str("1,this is not a trip\n");
    }
    gzip(text.as_bytes())
}

pub(crate) const TARGET: &str = "SELECT count(*), count(DISTINCT unique_row_id), \
                      md5(string_agg(t::text, E'\\n' ORDER BY t::text COLLATE \"C\")) FROM yellow_tripdata AS t";

impl TestBed {
    pub(crate) fn new(server: OwnServer, disk: Option<SmallDisk>) -> Self {
        let up = json(&server.taxi(&["up", "--output", "json"]).output().unwrap());
        let url = up["database_url"].as_str().unwrap().to_owned();
        let (old_file, file) = (month(ROWS_BEFORE), month(ROWS));
        let (file_bytes, old_file_bytes) = (file.len(), old_file.len());
        let source_fault = Arc::new(Mutex::new((SourceFault::None, 0)));
        let shared = Arc::clone(&source_fault);
        let source = Server::answering(move |request| {
            let mut state = shared.lock().unwrap();
            state.1 += 1;
            answer(*state, request, &old_file, &file)
        });
        let (proxy, proxied_url) = Proxy::in_front_of(&url);
        let settings = "pool_mode = session\ndefault_pool_size = 4";
        // the small disk is for one kind of fault
        let pooler = if disk.is_none() { Pooler::start(&url, settings).map(Mutex::new) } else { None };
        let temp = tempfile::tempdir().unwrap();
        let (empty, partial, complete) = (Vec::new(), Vec::new(), Vec::new());
        let (load_duration, bytes) = (Duration::ZERO, (0, 0, 0));
        let mut bed = Self {
            server,
            _disk: disk,
            url,
            proxied_url,
            proxy,
            pooler,
            source,
            source_fault,
            file_bytes,
            old_file_bytes,
            temp,
            empty,
            partial,
            complete,
            load_duration,
            bytes,
        };
        bed.prepare();
        bed
    }

    /// Loads without faults, and keeps the results to compare with.
    fn prepare(&mut self) {
        // the smaller file is the one that the source had before
        self.set_source_fault(SourceFault::Change(usize::MAX));
        json(&self.load(&self.url).output().unwrap());
        let database = self.database();
        self.partial = database.sql(TARGET).remove(0);
        database.sql(
            "CREATE TABLE target_before AS TABLE yellow_tripdata; CREATE TABLE runs_before AS TABLE taxi_etl.runs; \
             CREATE TABLE rejects_before AS TABLE taxi_etl.rejects",
        );
        self.reset(false, false);
        self.empty = database.sql(TARGET).remove(0);
        self.proxy.arm(Fault::None);
        json(&self.load(&self.proxied_url).output().unwrap());
        self.bytes = self.proxy.counts();
        self.complete = database.sql(TARGET).remove(0);
        let mut durations = Vec::new();
        for _ in 0..3 {
            self.reset(false, false);
            let began = Instant::now();
            json(&self.load(&self.url).output().unwrap());
            durations.push(began.elapsed());
        }
        durations.sort();
        self.load_duration = durations[1];
        assert!(self.complete[0] > self.complete[1], "no row repeats a key: {:?}", self.complete);
    }

    pub(crate) fn database(&self) -> Database {
        Database::connect(self.url.clone(), String::new())
    }

    pub(crate) fn set_source_fault(&self, source_fault: SourceFault) {
        *self.source_fault.lock().unwrap() = (source_fault, 0);
    }

    /// Resets the target: with or without some rows, and with or without a partition for the month.
    pub(crate) fn reset(&self, has_rows: bool, has_partition: bool) {
        self.set_source_fault(SourceFault::None);
        let database = self.database();
        database.sql(
            "TRUNCATE yellow_tripdata; TRUNCATE taxi_etl.runs, taxi_etl.rejects, taxi_etl.task_runs; \
             DROP TABLE IF EXISTS public_partitions.yellow_tripdata_2021_01",
        );
        if has_partition {
            database.make_partition("yellow", "2021-01", "2021-02");
        }
        if has_rows {
            database.sql(
                "INSERT INTO yellow_tripdata TABLE target_before; \
                 INSERT INTO taxi_etl.runs OVERRIDING SYSTEM VALUE TABLE runs_before; \
                 INSERT INTO taxi_etl.rejects OVERRIDING SYSTEM VALUE TABLE rejects_before",
            );
        }
    }

    pub(crate) fn load(&self, url: &str) -> Command {
        let mut load = self.server.taxi(&["load", "--taxi", "yellow", "--year", "2021", "--month", "1"]);
        load.args(["--output", "json", "--max-rejects", "5", "--source-timeout", "2s", "--retries", "3"]);
        load.args(["--source", &self.source.address]).env("DATABASE_URL", url);
        load.env("TAXI_DATABASE_TIMEOUT", format!("{}ms", DATABASE_TIMEOUT.as_millis()));
        load.env("TMPDIR", self.temp.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        load
    }

    /// Returns a random instant of a load, or shortly after its end.
    pub(crate) fn instant(&self, rng: &mut Rng) -> Duration {
        self.load_duration.mul_f64(rng.f64() * 1.05)
    }
}

fn answer(
    (source_fault, count): (SourceFault, usize),
    request: &Request,
    old_file: &[u8],
    file: &[u8],
) -> Reply {
    let ranged = || Reply::ranged(file, "\"new\"", request);
    match (source_fault, count) {
        (SourceFault::Cut(offset), _) => ranged().cut_at(offset),
        (SourceFault::Stall(offset), 1) => ranged().stalling_at(offset),
        (SourceFault::Change(offset), 1) => {
            Reply::ranged(old_file, "\"old\"", request).cut_at(offset.min(old_file.len()))
        }
        (SourceFault::Refuse(times), count) if count <= times => Reply::status(503),
        (SourceFault::Damage(offset), _) => {
            let mut damaged = file.to_vec();
            damaged[offset] ^= 0x55;
            Reply::ok(damaged)
        }
        (SourceFault::Shorten(offset), _) => Reply::ok(file[..offset].to_vec()),
        (SourceFault::Vanish(offset), 1) => ranged().cut_at(offset),
        (SourceFault::Vanish(_), _) => Reply::status(404),
        _ => ranged(),
    }
}
