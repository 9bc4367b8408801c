//! The shared server, a database for each test, the program, and files to load.

pub(crate) mod backups;
pub(crate) mod docker;
pub(crate) mod flows;
pub(crate) mod http;
pub(crate) mod kubernetes;
pub(crate) mod month;
pub(crate) mod oracle;
pub(crate) mod pooler;
pub(crate) mod proxy;
pub(crate) mod targets;
pub(crate) mod terminal;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

pub(crate) const TAXI: &str = env!("CARGO_BIN_EXE_taxi");

/// Counts the tables that loads created and that are not attached as a partition.
pub(crate) const STAGING_TABLES: &str = "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND NOT relispartition AND \
    (relnamespace = to_regnamespace('taxi_etl') AND relname LIKE 'staging%' \
     OR relnamespace = to_regnamespace('public_partitions'))";

/// The test data of the repository.
pub(crate) fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

/// Creates a folder that every user can enter, including the server's account.
pub(crate) fn open_tempdir() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

/// Returns a `taxi` command without the settings of the caller's environment.
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

/// A separate server for tests that break it. It is stopped and removed at the end.
pub(crate) struct OwnServer {
    home: PathBuf,
    _folder: Option<tempfile::TempDir>,
}

impl OwnServer {
    pub(crate) fn new() -> Self {
        let folder = open_tempdir();
        Self { home: folder.path().join("home"), _folder: Some(folder) }
    }

    /// Returns a server that has run before, and is stopped. It is a copy of one that `taxi up` has created with these
    /// programs, which saves its creation.
    pub(crate) fn created(programs: Option<&Path>) -> Self {
        static TEMPLATES: Mutex<Vec<(Option<PathBuf>, PathBuf)>> = Mutex::new(Vec::new());
        let mut templates = TEMPLATES.lock().unwrap();
        let known = templates.iter().find(|(of, _)| of.as_deref() == programs);
        let template = known.map(|(_, template)| template.clone()).unwrap_or_else(|| {
            let folder = SHARED.folder.join(format!("template_{}", templates.len()));
            let template = Self::at(&folder);
            let mut up = template.taxi(&["up", "--output", "json"]);
            up.envs(programs.map(|programs| ("TAXI_POSTGRES_BIN", programs)));
            let up = json(&up.output().unwrap());
            Database::connect(up["database_url"].as_str().unwrap().to_owned(), String::new()).skip_fsync();
            json(&template.taxi(&["down", "--output", "json"]).output().unwrap());
            std::fs::remove_file(template.path().join("log/server.log")).unwrap();
            templates.push((programs.map(Path::to_owned), template.path()));
            template.path()
        });
        drop(templates);
        let server = Self::new();
        let copied = Command::new("cp").arg("-a").arg(template).arg(server.path()).status();
        assert!(copied.unwrap().success());
        let file = server.path().join("connection.json");
        let mut connection: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        connection["port"] = free.into();
        std::fs::write(file, connection.to_string()).unwrap();
        server
    }

    /// Puts the server's home below a folder that the caller removes.
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
        let _ = self.taxi(&["down", "--force"]).output();
    }
}

/// A small disk in memory, for tests that fill it.
pub(crate) struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// Mounts a disk of this size, in mount's notation. Returns `None` if this user may not mount.
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
    /// Is removed at the end.
    folder: PathBuf,
    /// Stops the server when its stdin closes, which happens however this process ends.
    _guard: Child,
}

static SHARED: LazyLock<Shared> = LazyLock::new(|| {
    let home = open_tempdir().keep();
    let up = taxi(["up", "--output", "json"]).env("TAXI_HOME", home.join("home")).output().unwrap();
    let guard = Command::new("sh")
        .args(["-c", "cat >/dev/null; \"$0\" down --force; rm -rf \"$1\"", TAXI])
        .arg(&home)
        .env("TAXI_HOME", home.join("home"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let url = json(&up)["database_url"].as_str().unwrap().to_owned();
    Database::connect(url.clone(), String::new()).skip_fsync();
    Shared { url, folder: home, _guard: guard }
});

/// A database of the shared server.
pub(crate) struct Database {
    pub(crate) url: String,
    name: String,
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl Database {
    /// Creates an empty database with this name.
    pub(crate) fn new(name: &str) -> Self {
        let admin = Self::connect(SHARED.url.clone(), String::new());
        admin.sql(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
        admin.sql(&format!("CREATE DATABASE {name}"));
        let url = format!("{}/{name}", SHARED.url.rsplit_once('/').unwrap().0);
        Self::connect(url, name.to_owned())
    }

    /// Connects to any database.
    pub(crate) fn connect(url: String, name: String) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (client, connection) = runtime.block_on(tokio_postgres::connect(&url, NoTls)).unwrap();
        runtime.spawn(connection);
        Self { url, name, runtime, client }
    }

    /// Lets the server not wait for the disk, from now on and after its next starts. Without fsync, data is lost if the
    /// machine crashes, and not if the server does. DROP DATABASE takes a tenth of the time.
    pub(crate) fn skip_fsync(&self) {
        self.sql("ALTER SYSTEM SET fsync = off");
        self.sql("SELECT pg_reload_conf()");
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the rows of a query as text, with NULL as the empty string. Several statements run in order.
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

    /// Returns the single value of a query.
    pub(crate) fn value(&self, query: &str) -> String {
        let mut rows = self.sql(query);
        assert_eq!(rows.len(), 1, "{query}");
        rows.remove(0).remove(0)
    }

    /// Returns a `taxi load` command for a month, with its result as JSON.
    pub(crate) fn load(&self, taxi: &str, year: u16, month: u8, source: &str) -> Command {
        self.load_as("json", taxi, year, month, source)
    }

    /// Like `load`, with another `--output`.
    pub(crate) fn load_as(&self, output: &str, taxi: &str, year: u16, month: u8, source: &str) -> Command {
        let mut command = self::taxi(["load", "--output", output, "--taxi", taxi]);
        command.args(["--year", &year.to_string(), "--month", &month.to_string(), "--source", source]);
        command.env("DATABASE_URL", &self.url);
        command
    }

    /// Like `load`, with `--force`.
    pub(crate) fn reload(&self, taxi: &str, year: u16, month: u8, source: &str) -> Command {
        let mut command = self.load(taxi, year, month, source);
        command.arg("--force");
        command
    }

    /// Returns the number of rows, the number of distinct keys, and the digests of keys and rows, of one file
    /// in a target table.
    pub(crate) fn digest(&self, table: &str, filename: &str) -> Vec<String> {
        let query = format!(
            "SELECT count(*), count(DISTINCT unique_row_id COLLATE \"C\"), \
                 md5(string_agg(unique_row_id, '' ORDER BY unique_row_id COLLATE \"C\")), \
                 md5(string_agg(t::text, E'\\n' ORDER BY t::text COLLATE \"C\")) \
             FROM {table} AS t WHERE filename = '{filename}'"
        );
        self.sql(&query).remove(0)
    }

    /// Creates the partition of a month and moves the month's rows of the target into it.
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

/// Checks that a command succeeded. Returns the JSON object that is all of its stdout.
pub(crate) fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "not one line: {text}");
    serde_json::from_str(&text).unwrap()
}

/// Checks that a command failed with this exit code, and that its JSON result, if any, has the same code.
/// Returns its stderr.
pub(crate) fn refusal(output: &Output, code: i32) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    if !output.stdout.is_empty() {
        assert_eq!(failure(output)["exit_code"], code, "{stderr}");
    }
    stderr
}

/// Returns the error of the JSON object that is all of a failed command's stdout.
pub(crate) fn failure(output: &Output) -> Value {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "not one line: {text}");
    serde_json::from_str::<Value>(&text).unwrap()["error"].take()
}

/// Waits until a condition holds. Panics after a minute.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "timed out waiting until {what}");
        std::thread::yield_now();
    }
}

/// Prints why a test is skipped. Writes to stderr directly, because the test runner captures the output of
/// passing tests.
pub(crate) fn skipped(why: &str) {
    use std::io::Write as _;
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    std::io::stderr().write_all(format!("skipped {test}: {why}\n").as_bytes()).unwrap();
}

/// Returns the folder of real months with known digests, if `TAXI_REAL_DATA` is set.
pub(crate) fn real_data() -> Option<PathBuf> {
    let folder = std::env::var_os("TAXI_REAL_DATA").map(PathBuf::from);
    if folder.is_none() {
        skipped("TAXI_REAL_DATA is not set");
    }
    folder
}

pub(crate) fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}
