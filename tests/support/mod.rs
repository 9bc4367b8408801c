//! The shared server, a database for each test, the program itself, and files to load.

pub(crate) mod flows;
pub(crate) mod http;
pub(crate) mod judge;
pub(crate) mod month;
pub(crate) mod proxy;
pub(crate) mod targets;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

pub(crate) const TAXI: &str = env!("CARGO_BIN_EXE_taxi");

/// How many tables of loads there are that no table has as its partition.
pub(crate) const STAGING_TABLES: &str = "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND NOT relispartition AND \
    (relnamespace = to_regnamespace('taxi_etl') AND relname LIKE 'staging%' \
     OR relnamespace = to_regnamespace('public_partitions'))";

/// The test data of the repository.
pub(crate) fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

/// A folder that every user can enter, as the server's account must.
pub(crate) fn open_tempdir() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

/// `taxi` with nothing of the caller's settings.
pub(crate) fn taxi<I: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = I>) -> Command {
    let mut command = Command::new(TAXI);
    command.args(args).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("TAXI_") || text.starts_with("PG") || text == "DATABASE_URL" {
            command.env_remove(name);
        }
    }
    command
}

/// A server of its own, for tests that break it; stopped and removed at the end.
pub(crate) struct OwnServer {
    home: PathBuf,
    _folder: Option<tempfile::TempDir>,
}

impl OwnServer {
    pub(crate) fn new() -> Self {
        let folder = open_tempdir();
        Self { home: folder.path().join("home"), _folder: Some(folder) }
    }

    /// Below a folder of somebody else's.
    pub(crate) fn at(folder: &Path) -> Self {
        Self { home: folder.join("home"), _folder: None }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.home.clone()
    }

    pub(crate) fn taxi(&self, args: &[&str]) -> Command {
        let mut command = taxi(args);
        command.env("TAXI_HOME", self.path());
        command
    }

    pub(crate) fn status(&self) -> Value {
        json(&self.taxi(&["status", "--output", "json"]).output().unwrap())
    }

    pub(crate) fn postmaster(&self) -> i32 {
        let text = std::fs::read_to_string(self.path().join("data/postmaster.pid")).unwrap();
        text.lines().next().unwrap().parse().unwrap()
    }

    /// The postmaster and its children.
    pub(crate) fn processes(&self) -> Vec<nix::unistd::Pid> {
        let postmaster = self.postmaster();
        let children =
            Command::new("ps").args(["-o", "pid=", "--ppid", &postmaster.to_string()]).output().unwrap();
        let children = String::from_utf8(children.stdout).unwrap();
        let children = children.split_whitespace().map(|pid| pid.parse().unwrap());
        children.chain([postmaster]).map(nix::unistd::Pid::from_raw).collect()
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        let _ = self.taxi(&["down"]).output();
    }
}

/// A disk in memory, which is full soon.
pub(crate) struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// Of that size, as mount takes it; `None` where this user may not mount.
    pub(crate) fn mount(size: &str) -> Option<Self> {
        let folder = is_root().then(open_tempdir)?;
        let options = format!("size={size},mode=0777");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder.path());
        mount.output().ok()?.status.success().then(|| Self(folder))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).output();
    }
}

struct Shared {
    url: String,
    /// Its stdin closes when this process ends, however it ends; then it takes the server down.
    _guard: Child,
}

static SHARED: LazyLock<Shared> = LazyLock::new(|| {
    let home = open_tempdir().keep();
    let up = taxi(["up", "--output", "json"]).env("TAXI_HOME", home.join("home")).output().unwrap();
    let guard = Command::new("sh")
        .args(["-c", "cat >/dev/null; \"$0\" down; rm -rf \"$1\"", TAXI])
        .arg(&home)
        .env("TAXI_HOME", home.join("home"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let url = json(&up)["database_url"].as_str().unwrap().to_owned();
    Shared { url, _guard: guard }
});

/// A database of the shared server.
pub(crate) struct Database {
    pub(crate) url: String,
    name: String,
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl Database {
    /// An empty database of that name.
    pub(crate) fn new(name: &str) -> Self {
        let admin = Self::connect(SHARED.url.clone(), String::new());
        admin.sql(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
        admin.sql(&format!("CREATE DATABASE {name}"));
        let url = format!("{}/{name}", SHARED.url.rsplit_once('/').unwrap().0);
        Self::connect(url, name.to_owned())
    }

    /// A connection to whatever database.
    pub(crate) fn connect(url: String, name: String) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (client, connection) = runtime.block_on(tokio_postgres::connect(&url, NoTls)).unwrap();
        runtime.spawn(connection);
        Self { url, name, runtime, client }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The rows of a query as text, NULL as nothing; several statements run one after the other.
    pub(crate) fn sql(&self, query: &str) -> Vec<Vec<String>> {
        let messages = self.runtime.block_on(self.client.simple_query(query));
        let messages = messages.unwrap_or_else(|error| panic!("{query}: {error:?}"));
        let rows = messages.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|column| row.get(column).unwrap_or_default().to_owned()).collect())
            }
            _ => None,
        });
        rows.collect()
    }

    /// The one value of a query.
    pub(crate) fn value(&self, query: &str) -> String {
        let mut rows = self.sql(query);
        assert_eq!(rows.len(), 1, "{query}");
        rows.remove(0).remove(0)
    }

    /// `taxi load` of a month into this database, its result as JSON.
    pub(crate) fn load(&self, taxi: &str, year: u16, month: u8, source: &str) -> Command {
        self.load_as("json", taxi, year, month, source)
    }

    /// The same, its result in another form.
    pub(crate) fn load_as(&self, output: &str, taxi: &str, year: u16, month: u8, source: &str) -> Command {
        let mut command = self::taxi(["load", "--output", output, "--taxi", taxi]);
        command.args(["--year", &year.to_string(), "--month", &month.to_string(), "--source", source]);
        command.env("DATABASE_URL", &self.url);
        command
    }

    /// The same, whatever the ledger says.
    pub(crate) fn reload(&self, taxi: &str, year: u16, month: u8, source: &str) -> Command {
        let mut command = self.load(taxi, year, month, source);
        command.arg("--force");
        command
    }

    /// Rows, distinct keys, and the digests over keys and rows of one file in a target table.
    pub(crate) fn digest(&self, table: &str, filename: &str) -> Vec<String> {
        let query = format!(
            "SELECT count(*), count(DISTINCT unique_row_id), \
                 md5(string_agg(unique_row_id, '' ORDER BY unique_row_id COLLATE \"C\")), \
                 md5(string_agg(t::text, E'\\n' ORDER BY t::text COLLATE \"C\")) \
             FROM {table} AS t WHERE filename = '{filename}'"
        );
        self.sql(&query).remove(0)
    }

    /// Gives a month its partition, with the rows that the target holds of it.
    pub(crate) fn make_partition(&self, taxi: &str, month: &str, next: &str) {
        let column = if taxi == "yellow" { "tpep_pickup_datetime" } else { "lpep_pickup_datetime" };
        let table = format!("{taxi}_tripdata");
        let name = format!("public_partitions.{table}_{}", month.replace('-', "_"));
        let bounds = format!("{column} >= '{month}-01' AND {column} < '{next}-01'");
        self.sql(&format!(
            "BEGIN; CREATE TABLE {name} (LIKE {table}); \
             WITH moved AS (DELETE FROM {table} WHERE {bounds} RETURNING *) INSERT INTO {name} SELECT * FROM moved; \
             ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ('{month}-01') TO ('{next}-01'); COMMIT"
        ));
    }

    pub(crate) fn driver(&self) -> (&tokio::runtime::Runtime, &Client) {
        (&self.runtime, &self.client)
    }
}

/// The JSON object that a successful command printed, alone on stdout.
pub(crate) fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "not one line: {text}");
    serde_json::from_str(&text).unwrap()
}

/// What a command that must fail said, once its exit code is the expected one; its result, if any, says the same.
pub(crate) fn refusal(output: &Output, code: i32) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    if !output.stdout.is_empty() {
        assert_eq!(failure(output)["exit_code"], code, "{said}");
    }
    said
}

/// The error in the JSON object that a failed command printed, alone on stdout.
pub(crate) fn failure(output: &Output) -> Value {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "not one line: {text}");
    serde_json::from_str::<Value>(&text).unwrap()["error"].take()
}

/// Waits until something holds, and fails where it never does.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::yield_now();
    }
}

/// Says why a test was not run, past the test runner, which keeps what passing tests print to itself.
pub(crate) fn skipped(why: &str) {
    use std::io::Write as _;
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    std::io::stderr().write_all(format!("skipped {test}: {why}\n").as_bytes()).unwrap();
}

/// The real trips with known answers, where there are any.
pub(crate) fn real_data() -> Option<PathBuf> {
    let folder = std::env::var_os("TAXI_REAL_DATA").map(PathBuf::from);
    if folder.is_none() {
        skipped("TAXI_REAL_DATA names no folder of real trips");
    }
    folder
}

pub(crate) fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}
