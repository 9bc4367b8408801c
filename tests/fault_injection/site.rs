//! Where faults are made: a server, a proxy before it, a source that misbehaves, and what the target holds when all is well.

use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::support::http::{Reply, Request, Server};
use crate::support::month::{gzip, yellow_csv};
use crate::support::proxy::{Fault, Proxy};
use crate::support::{Database, OwnServer, SmallDisk, json};

const ROWS: u32 = 20_000;
/// Of which so many are there before some of the faults.
const ROWS_BEFORE: u32 = 6_000;
pub(crate) const REJECTS: u32 = 3;
/// How long a database may not answer here.
pub(crate) const SILENCE: Duration = Duration::from_secs(2);

/// What the source does to its answers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Misbehaviour {
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
pub(crate) struct Site {
    pub(crate) server: OwnServer,
    _disk: Option<SmallDisk>,
    pub(crate) url: String,
    /// The same, through the proxy.
    pub(crate) proxied_url: String,
    pub(crate) proxy: Proxy,
    source: Server,
    misbehaviour: Arc<Mutex<(Misbehaviour, usize)>>,
    pub(crate) file_bytes: usize,
    /// Of the file that the source had before.
    pub(crate) some_bytes: usize,
    pub(crate) temp: tempfile::TempDir,
    /// Digests of the target: empty, with some rows, complete.
    pub(crate) empty: Vec<String>,
    pub(crate) some: Vec<String>,
    pub(crate) complete: Vec<String>,
    /// How long an undisturbed load takes, the bytes it sends and gets, and how often it commits.
    pub(crate) took: Duration,
    pub(crate) bytes: (u64, u64, u64),
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

pub(crate) const TARGET: &str = "SELECT count(*), count(DISTINCT unique_row_id), \
                      md5(string_agg(t::text, E'\\n' ORDER BY t::text COLLATE \"C\")) FROM yellow_tripdata AS t";

impl Site {
    pub(crate) fn new(server: OwnServer, disk: Option<SmallDisk>) -> Self {
        let up = json(&server.taxi(&["up", "--output", "json"]).output().unwrap());
        let url = up["database_url"].as_str().unwrap().to_owned();
        let (some, whole) = (month(ROWS_BEFORE), month(ROWS));
        let (file_bytes, some_bytes) = (whole.len(), some.len());
        let misbehaviour = Arc::new(Mutex::new((Misbehaviour::None, 0)));
        let shared = Arc::clone(&misbehaviour);
        let source = Server::answering(move |request| {
            let mut state = shared.lock().unwrap();
            state.1 += 1;
            answer(*state, request, &some, &whole)
        });
        let (proxy, proxied_url) = Proxy::before(&url);
        let temp = tempfile::tempdir().unwrap();
        let (empty, some, complete) = (Vec::new(), Vec::new(), Vec::new());
        let (took, bytes) = (Duration::ZERO, (0, 0, 0));
        let mut site = Self {
            server,
            _disk: disk,
            url,
            proxied_url,
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
        self.reset(false, false);
        self.empty = database.sql(TARGET).remove(0);
        self.proxy.arm(Fault::None);
        json(&self.load(&self.proxied_url).output().unwrap());
        self.bytes = self.proxy.seen();
        self.complete = database.sql(TARGET).remove(0);
        let mut took = Vec::new();
        for _ in 0..3 {
            self.reset(false, false);
            let began = Instant::now();
            json(&self.load(&self.url).output().unwrap());
            took.push(began.elapsed());
        }
        took.sort();
        self.took = took[1];
        assert!(self.complete[0] > self.complete[1], "no row repeats a key: {:?}", self.complete);
    }

    pub(crate) fn database(&self) -> Database {
        Database::connect(self.url.clone(), String::new())
    }

    pub(crate) fn misbehave(&self, misbehaviour: Misbehaviour) {
        *self.misbehaviour.lock().unwrap() = (misbehaviour, 0);
    }

    /// The target as it was before the fault: empty, or with some rows; the month with a partition, or without.
    pub(crate) fn reset(&self, some: bool, has_partition: bool) {
        self.misbehave(Misbehaviour::None);
        let database = self.database();
        database.sql(
            "TRUNCATE yellow_tripdata; TRUNCATE taxi_etl.runs, taxi_etl.rejects, taxi_etl.task_runs; \
             DROP TABLE IF EXISTS public_partitions.yellow_tripdata_2021_01",
        );
        if has_partition {
            database.make_partition("yellow", "2021-01", "2021-02");
        }
        if some {
            database.sql(
                "INSERT INTO yellow_tripdata TABLE target_before; \
                 INSERT INTO taxi_etl.runs OVERRIDING SYSTEM VALUE TABLE runs_before; \
                 INSERT INTO taxi_etl.rejects TABLE rejects_before",
            );
        }
    }

    pub(crate) fn load(&self, url: &str) -> Command {
        let mut load = self.server.taxi(&["load", "--taxi", "yellow", "--year", "2021", "--month", "1"]);
        load.args(["--output", "json", "--max-rejects", "5", "--source-timeout", "2s", "--retries", "3"]);
        load.args(["--source", &self.source.address]).env("DATABASE_URL", url);
        load.env("TAXI_DATABASE_TIMEOUT", format!("{}ms", SILENCE.as_millis()));
        load.env("TMPDIR", self.temp.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        load
    }

    /// An instant of a load, or a little behind its end.
    pub(crate) fn instant(&self, rng: &mut Rng) -> Duration {
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
