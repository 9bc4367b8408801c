//! A password appears nowhere: not in the output of a command, not in the process list, not in a file, not in
//! the ledger.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use clap::CommandFactory as _;
use memchr::memmem;

use crate::support::flows::write;
use crate::support::{Database, OwnServer, json, taxi, testdata};

const MARK: &str = "m4rk3d-p4ssw0rd";

/// Watches for a text in the command lines of all processes, and in the files of a folder, until it is
/// dropped.
struct Watch {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<BTreeSet<String>>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Watch {
    fn new(mark: &str, folder: &Path) -> Self {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(BTreeSet::new())));
        let (mark, folder) = (mark.to_owned(), folder.to_owned());
        let (stopped, found) = (Arc::clone(&stop), Arc::clone(&seen));
        let thread = std::thread::spawn(move || {
            loop {
                let last = stopped.load(Ordering::Relaxed);
                let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
                for process in
                    processes.filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok())
                {
                    search(&process.path().join("cmdline"), &mark, &found);
                }
                visit_files(&folder, &mut |path| search(path, &mark, &found));
                if last {
                    return;
                }
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        });
        Self { stop, seen, thread: Some(thread) }
    }

    /// Stops watching. Returns where the text was found.
    fn finish(mut self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

fn search(path: &Path, mark: &str, seen: &Mutex<BTreeSet<String>>) {
    let bytes = std::fs::read(path).unwrap_or_default();
    if memmem::find(&bytes, mark.as_bytes()).is_some() {
        seen.lock().unwrap().insert(format!("{}: {}", path.display(), String::from_utf8_lossy(&bytes)));
    }
}

fn visit_files(folder: &Path, visit: &mut dyn FnMut(&Path)) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => visit_files(&path, visit),
            path => visit(&path),
        }
    }
}

/// Returns the options for the output of a command to test: all forms that it accepts.
fn forms(command: &str) -> Vec<Vec<&'static str>> {
    let cli = taxi_etl::cli::Cli::command();
    let takes = |long: &str| {
        let subcommand = cli.get_subcommands().find(|subcommand| subcommand.get_name() == command).unwrap();
        subcommand.get_arguments().any(|argument| argument.get_long() == Some(long))
    };
    let mut forms = vec![vec![]];
    if takes("output") {
        forms.extend([vec!["--output", "json"], vec!["--output", "kestra"]]);
    }
    if takes("log-format") {
        forms.extend([vec!["--log-format", "json"], vec!["--quiet"], vec!["--verbose"]]);
    }
    forms
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[test]
fn a_password_appears_nowhere() {
    let database = Database::new("marked_password");
    let source = testdata();
    let source = source.to_str().unwrap();
    database
        .sql(&format!("DROP ROLE IF EXISTS marked; CREATE ROLE marked SUPERUSER LOGIN PASSWORD '{MARK}'"));
    let host_and_name = database.url.split_once('@').unwrap().1;
    let (address, name) = host_and_name.split_once('/').unwrap();
    let (host, port) = address.split_once(':').unwrap();
    let folder = tempfile::tempdir().unwrap();
    let unwatched = tempfile::tempdir().unwrap();
    let (secret_file, backups) = (unwatched.path().join("password"), unwatched.path().join("backups"));
    std::fs::write(&secret_file, MARK).unwrap();
    let flow = write(
        &unwatched,
        "id: marked\nnamespace: taxi.tests\ntriggers: [{id: daily, type: io.kestra.plugin.core.trigger.Schedule, cron: '0 1 * * *'}]\ntasks:\n  \
         - {id: query, type: io.kestra.plugin.jdbc.postgresql.Query, sql: 'SELECT 1 AS one', fetchType: FETCH_ONE}\n  \
         - {id: shell, type: io.kestra.plugin.scripts.shell.Commands, commands: ['sleep 0.05']}\n  \
         - {id: bad, type: io.kestra.plugin.jdbc.postgresql.Query, sql: 'SELECT nothing', allowFailure: true}\n",
    );
    let flow_tests = unwatched.path().join("tests.yaml");
    let assertion = "{value: '{{ outputs.query.row.one }}', equalTo: 1}";
    std::fs::write(
        &flow_tests,
        format!(
            "id: marked_tests\nnamespace: taxi.tests\nflowId: marked\ntestCases:\n  \
                 - {{id: one, type: io.kestra.core.tests.flow.UnitTest, assertions: [{assertion}]}}\n"
        ),
    )
    .unwrap();
    let (flow, flow_tests) = (flow.to_str().unwrap(), flow_tests.to_str().unwrap());
    let run = json(&database.load("yellow", 2021, 1, source).output().unwrap())["run_id"].clone();
    let run = run.as_str().unwrap();

    let month = ["--taxi", "yellow", "--year", "2021", "--month", "1", "--source", source, "--force"];
    let range = ["--taxi", "yellow", "--from", "2021-01", "--to", "2021-02", "--source", source];
    let commands: Vec<Vec<&str>> = vec![
        [&["load"], &month[..]].concat(),
        [&["backfill"], &range[..]].concat(),
        [&["backfill"], &range[..], &["--plan"]].concat(),
        vec!["zones", "--source", source, "--force"],
        [&["drift"], &range[..]].concat(),
        vec!["run", flow],
        vec!["backfill", flow, "--trigger", "daily", "--from", "2021-01-01", "--to", "2021-01-02"],
        vec!["run", flow, "--dry-run"],
        vec!["test", flow_tests],
        vec!["validate", flow],
        vec!["show", flow],
        vec!["triggers", flow],
        vec!["schema"],
        vec!["completions", "bash"],
        vec!["man"],
        vec!["runs"],
        vec!["runs", "show", run],
        vec!["runs", "prune", "--older-than", "90d", "--plan"],
        vec!["drop", "--taxi", "yellow", "--year", "2021", "--plan"],
        vec!["backup", "--to", backups.to_str().unwrap()],
        vec!["restore", "/nowhere"],
        vec!["verify", "--taxi", "yellow", "--year", "2021"],
        vec!["doctor", "--source", source],
    ];
    // the commands of the embedded server do not use this password, and print their own
    let server_commands = ["up", "status", "down", "psql", "logs", "upgrade"];
    for subcommand in taxi_etl::cli::Cli::command().get_subcommands() {
        let name = subcommand.get_name();
        assert!(
            server_commands.contains(&name) || commands.iter().any(|command| command[0] == name),
            "{name} is not tested"
        );
    }

    let url = |password: &str| format!("postgresql://marked{password}@{host_and_name}");
    let wrong = format!("postgresql://marked:{MARK}x@{host_and_name}");
    let unreachable = format!("postgresql://marked:{MARK}@127.0.0.1:1/{name}");
    let unreadable = format!("postgresql://marked:{MARK}@[::1/{name}");
    let misspelt = format!("host={host} user=marked password={MARK} sslmod=disable");
    let configurations: Vec<Vec<(&str, String)>> = vec![
        vec![("DATABASE_URL", url(&format!(":{MARK}")))],
        vec![("DATABASE_URL", url("")), ("PGPASSWORD", MARK.to_owned())],
        vec![("DATABASE_URL", url("")), ("PGPASSWORD_FILE", secret_file.display().to_string())],
        vec![
            ("PGHOST", host.to_owned()),
            ("PGPORT", port.to_owned()),
            ("PGUSER", "marked".to_owned()),
            ("PGDATABASE", name.to_owned()),
            ("PGPASSWORD", MARK.to_owned()),
        ],
        vec![("DATABASE_URL", wrong)],
        vec![("DATABASE_URL", unreachable)],
        vec![("DATABASE_URL", unreadable)],
        vec![("DATABASE_URL", misspelt)],
    ];
    let watch = Watch::new(MARK, folder.path());
    for (index, configuration) in configurations.iter().enumerate() {
        for command in &commands {
            let local = ["drift", "validate", "show", "triggers", "schema", "completions", "man"]
                .contains(&command[0]);
            if local && index > 0 {
                continue;
            }
            // test all forms of the output with one configuration only
            let forms = forms(command[0]);
            let forms = if index == 0 { &forms[..] } else { &forms[..1] };
            for form in forms {
                let mut taxi = taxi(command);
                taxi.args(form).env("TMPDIR", folder.path()).env("TAXI_RETRIES", "0");
                taxi.env("TAXI_XCOM_DIR", folder.path())
                    .env("TAXI_TERMINATION_LOG", folder.path().join("termination"));
                std::fs::write(folder.path().join("termination"), "").unwrap();
                let output =
                    taxi.envs(configuration.iter().map(|(name, value)| (name, value))).output().unwrap();
                assert!(
                    !printed(&output).contains(MARK),
                    "{command:?} {form:?} with {configuration:?} prints {}",
                    printed(&output)
                );
                let works = index < 4;
                let code = output.status.code().unwrap();
                // a backfill with a missing month has its own exit code; there is no backup to restore; a dry run
                // needs a valid setting, but no server
                assert!(
                    command[0] == "restore"
                        || command.contains(&"--dry-run")
                        || (code == 0 || code == 66 || code == 67) == (works || local),
                    "{command:?}: {}",
                    printed(&output)
                );
            }
        }
    }
    assert_eq!(watch.finish(), BTreeSet::new(), "in the process list or a file");
    let ledger = "SELECT count(*) FROM (SELECT r::text FROM taxi_etl.runs AS r UNION ALL SELECT t::text FROM taxi_etl.task_runs AS t \
                  UNION ALL SELECT r::text FROM taxi_etl.rejects AS r) AS kept (line)";
    assert!(database.value(ledger).parse::<u32>().unwrap() > 20, "the runs were not recorded");
    assert_eq!(database.value(&format!("{ledger} WHERE line LIKE '%{MARK}%'")), "0");
    database.sql("REASSIGN OWNED BY marked TO CURRENT_USER; DROP OWNED BY marked; DROP ROLE marked");
}

#[test]
fn the_embedded_servers_password_is_in_its_private_file_and_nowhere_else() {
    let server = OwnServer::new();
    let source = testdata();
    let source = source.to_str().unwrap();
    let connection = server.path().join("connection.json");
    let up = |server: &OwnServer| json(&server.taxi(&["up", "--output", "json"]).output().unwrap());
    let url = up(&server)["database_url"].as_str().unwrap().to_owned();
    let password = url.split_once('@').unwrap().0.rsplit_once(':').unwrap().1.to_owned();
    use std::os::unix::fs::MetadataExt as _;
    assert_eq!(std::fs::metadata(&connection).unwrap().mode() & 0o777, 0o600);

    let folder = tempfile::tempdir().unwrap();
    let watch = Watch::new(&password, folder.path());
    let load = ["load", "--taxi", "yellow", "--year", "2021", "--month", "1", "--source", source];
    let commands: [&[&str]; 6] = [
        &load,
        &["runs"],
        &["verify", "--taxi", "yellow", "--year", "2021", "--month", "1"],
        &["doctor", "--source", source],
        &["psql", "-c", "SELECT 1"],
        &["down"],
    ];
    for command in commands {
        let mut taxi: Command = server.taxi(command);
        let output = taxi.env("TMPDIR", folder.path()).output().unwrap();
        assert!(!printed(&output).contains(&password), "{command:?}: {}", printed(&output));
    }
    // up and status print it on purpose
    json(&server.taxi(&["up", "--output", "json"]).env("TMPDIR", folder.path()).output().unwrap());
    assert_eq!(watch.finish(), BTreeSet::new(), "in the process list or a file");
    let mut holders = Vec::new();
    visit_files(&server.path(), &mut |path| {
        let bytes = std::fs::read(path).unwrap_or_default();
        if memmem::find(&bytes, password.as_bytes()).is_some() {
            holders.push(path.to_owned());
        }
    });
    assert_eq!(holders, [connection]);
}
