//! The embedded server: start and stop, crashes, ports, data directories, users, and the download of its
//! programs.

use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::http::{Reply, Server};
use crate::support::{Database, OwnServer, is_root, json, open_tempdir, refusal, skipped, taxi, testdata};

fn up(server: &OwnServer) -> serde_json::Value {
    json(&server.taxi(&["up", "--output", "json"]).output().unwrap())
}

fn connect(up: &serde_json::Value) -> Database {
    Database::connect(up["database_url"].as_str().unwrap().to_owned(), "ny_taxi".to_owned())
}

#[test]
fn data_and_url_survive_down_and_up() {
    let server = OwnServer::new();
    assert_eq!(server.status()["state"], "absent");
    let first = up(&server);
    assert_eq!(first["state"], "running");
    assert_eq!(first["data_dir"], server.path().join("data").to_str().unwrap());
    connect(&first).sql("CREATE TABLE kept AS SELECT 42 AS answer");
    assert_eq!(server.status(), first);

    let down = json(&server.taxi(&["down", "--output", "json"]).output().unwrap());
    assert_eq!((&down["state"], &down["database_url"]), (&"stopped".into(), &serde_json::Value::Null));
    assert_eq!(up(&server), first);
    assert_eq!(connect(&first).value("SELECT answer FROM kept"), "42");
    json(&server.taxi(&["down", "--output", "json"]).output().unwrap());
    json(&server.taxi(&["down", "--output", "json"]).output().unwrap());
}

/// The command in new namespaces, as in another container on the same machine.
fn in_namespaces(flags: &[&str], command: &Command) -> Command {
    let mut unshare = Command::new("unshare");
    unshare.args(flags).arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => unshare.env(name, value),
            None => unshare.env_remove(name),
        };
    }
    unshare
}

#[test]
fn a_server_in_another_namespace_is_used_or_left_alone() {
    let pids = ["--pid", "--fork", "--mount-proc"];
    let isolated = [&pids[..], &["--net", "--ipc"]].concat();
    if !Command::new("unshare").args(&isolated).arg("true").output().is_ok_and(|run| run.status.success()) {
        return skipped("cannot create namespaces");
    }
    let server = OwnServer::created(None);
    let first = up(&server);
    let postmaster = server.postmaster();
    // its process cannot be seen, but it answers
    let seen = in_namespaces(&pids, &server.taxi(&["up", "--output", "json"])).output().unwrap();
    assert_eq!(json(&seen), first);
    // it can be neither seen nor reached
    for command in ["up", "down"] {
        let output = in_namespaces(&isolated, &server.taxi(&[command])).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let code = if command == "up" { 75 } else { 78 };
        assert_eq!(output.status.code(), Some(code), "{command}: {stderr}");
        assert!(stderr.contains("another container"), "{command}: {stderr}");
    }
    assert_eq!((server.postmaster(), server.status()), (postmaster, first));
}

#[test]
fn a_load_starts_the_server_and_leaves_it_running_and_says_so_once() {
    let server = OwnServer::new();
    let load = || {
        let args =
            ["load", "--taxi", "green", "--year", "2020", "--month", "3", "--output", "json", "--source"];
        server.taxi(&args).arg(testdata()).output().unwrap()
    };
    let first = load();
    json(&first);
    let stderr = String::from_utf8(first.stderr).unwrap();
    assert!(stderr.contains("use 'taxi psql' to connect and 'taxi down' to stop it"), "{stderr}");
    assert_eq!(server.status()["state"], "running");
    let second = load();
    json(&second);
    assert!(!String::from_utf8(second.stderr).unwrap().contains("taxi down"));

    let psql = server.taxi(&["psql", "-AtXc", "SELECT count(*) FROM green_tripdata"]).output().unwrap();
    assert_eq!(String::from_utf8(psql.stdout).unwrap().trim(), "2001");
}

#[test]
fn concurrent_ups_start_one_server() {
    let server = OwnServer::new();
    let spawn = || {
        server
            .taxi(&["up", "--output", "json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let results = [spawn(), spawn(), spawn()].map(|child| json(&child.wait_with_output().unwrap()));
    assert!(results.iter().all(|result| *result == results[0]), "{results:?}");
    assert_eq!(connect(&results[0]).value("SELECT 1"), "1");
}

#[test]
fn a_killed_server_starts_again_with_its_data() {
    let server = OwnServer::created(None);
    let first = up(&server);
    connect(&first).sql("CREATE TABLE kept AS SELECT 42 AS answer");
    kill(Pid::from_raw(server.postmaster()), Signal::SIGKILL).unwrap();
    assert_eq!(up(&server), first);
    assert_eq!(connect(&first).value("SELECT answer FROM kept"), "42");
}

#[test]
fn a_pid_file_that_names_another_process_does_not_block_the_start() {
    let server = OwnServer::created(None);
    let first = up(&server);
    json(&server.taxi(&["down", "--output", "json"]).output().unwrap());
    // the pid now belongs to a process that is not a server: this one
    let pid_file = server.path().join("data/postmaster.pid");
    let text =
        format!("{}\n{}\n1\n5432\n\n127.0.0.1\n", std::process::id(), server.path().join("data").display());
    std::fs::write(&pid_file, text).unwrap();
    assert_eq!(server.status()["state"], "stopped");
    assert_eq!(up(&server), first);
}

#[test]
fn the_server_moves_to_another_port_if_its_port_is_taken() {
    let server = OwnServer::created(None);
    let first = up(&server);
    json(&server.taxi(&["down", "--output", "json"]).output().unwrap());
    let port = |up: &serde_json::Value| -> u16 {
        let url = up["database_url"].as_str().unwrap().to_owned();
        url.rsplit_once(':').unwrap().1.split_once('/').unwrap().0.parse().unwrap()
    };
    let _taken = std::net::TcpListener::bind(("127.0.0.1", port(&first))).unwrap();
    let output = server.taxi(&["up", "--output", "json"]).output().unwrap();
    let moved = json(&output);
    assert_ne!(port(&moved), port(&first));
    assert!(String::from_utf8(output.stderr).unwrap().contains("is in use; the server now uses port"));
    assert_eq!(connect(&moved).value("SELECT 1"), "1");
}

#[test]
fn the_server_is_durable_and_listens_only_on_localhost() {
    let server = OwnServer::new();
    let database = connect(&up(&server));
    let setting = |name: &str| database.value(&format!("SHOW {name}"));
    assert_eq!(setting("fsync"), "on");
    assert_eq!(setting("full_page_writes"), "on");
    assert_eq!(setting("synchronous_commit"), "on");
    assert_eq!(setting("listen_addresses"), "127.0.0.1");
    assert_eq!(setting("password_encryption"), "scram-sha-256");
    assert_eq!(setting("unix_socket_directories"), server.path().join("run").to_str().unwrap());
    let other_methods = "SELECT count(*) FROM pg_hba_file_rules WHERE auth_method <> 'scram-sha-256'";
    assert_eq!(database.value(other_methods), "0");
    let port = setting("port");
    assert!(server.path().join(format!("run/.s.PGSQL.{port}")).exists());
}

#[test]
fn a_data_directory_of_another_major_version_is_refused_and_kept() {
    let server = OwnServer::new();
    let data = server.path().join("data");
    std::fs::create_dir_all(&data).unwrap();
    std::fs::write(data.join("PG_VERSION"), "14\n").unwrap();
    let error = refusal(&server.taxi(&["up"]).output().unwrap(), 78);
    assert!(error.contains("was created by PostgreSQL 14") && error.contains("'taxi upgrade'"), "{error}");
    assert_eq!(std::fs::read_to_string(data.join("PG_VERSION")).unwrap(), "14\n");
}

#[test]
fn a_server_that_does_not_start_says_why() {
    let server = OwnServer::created(None);
    up(&server);
    json(&server.taxi(&["down", "--output", "json"]).output().unwrap());
    let conf = server.path().join("data/postgresql.conf");
    let text = std::fs::read_to_string(&conf).unwrap();
    std::fs::write(&conf, format!("{text}shared_buffers = nonsense\n")).unwrap();
    let error = refusal(&server.taxi(&["up"]).output().unwrap(), 78);
    assert!(
        error.contains("cannot start the server")
            && error.contains("nonsense")
            && error.contains("server.log"),
        "{error}"
    );
    std::fs::write(&conf, text).unwrap();
    assert_eq!(up(&server)["state"], "running");
}

#[test]
fn an_interrupted_creation_starts_over() {
    let server = OwnServer::new();
    let unfinished = server.path().join("data.unfinished");
    std::fs::create_dir_all(unfinished.join("base")).unwrap();
    std::fs::write(unfinished.join("PG_VERSION"), "15\n").unwrap();
    assert_eq!(up(&server)["state"], "running");
    assert!(!unfinished.exists());
}

#[test]
fn a_home_that_the_servers_account_cannot_reach_is_refused() {
    if !is_root() {
        return skipped("only root runs the server as another user");
    }
    use std::os::unix::fs::PermissionsExt as _;
    let closed = tempfile::tempdir().unwrap();
    std::fs::set_permissions(closed.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let output = taxi(["up"]).env("TAXI_HOME", closed.path().join("home")).output().unwrap();
    let error = refusal(&output, 78);
    assert!(error.contains("cannot enter") && error.contains("TAXI_HOME"), "{error}");
}

#[test]
fn an_unprivileged_user_can_run_their_own_server() {
    if !is_root() {
        return skipped("all other tests run as an unprivileged user already");
    }
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let folder = open_tempdir();
    // the program must be where that user can run it
    let program = folder.path().join("taxi");
    std::fs::copy(crate::support::TAXI, &program).unwrap();
    let home = folder.path().join("theirs");
    std::fs::create_dir(&home).unwrap();
    nix::unistd::chown(&home, Some(nobody.uid), Some(nobody.gid)).unwrap();
    let run = |args: &[&str]| {
        use std::os::unix::process::CommandExt as _;
        let mut command = Command::new(&program);
        command.args(args).env("TAXI_HOME", home.join("home")).env_remove("DATABASE_URL").current_dir("/");
        command.uid(nobody.uid.as_raw()).gid(nobody.gid.as_raw());
        command.output().unwrap()
    };
    let up = json(&run(&["up", "--output", "json"]));
    assert_eq!(connect(&up).value("SELECT 1"), "1");
    assert_eq!(json(&run(&["down", "--output", "json"]))["state"], "stopped");
}

/// Returns a function that runs a copy of the program in `folder` as another user. The program must be where that
/// user can run it.
fn program_of_another_user(
    folder: &std::path::Path,
    uid: u32,
) -> impl Fn(&[&str], &std::path::Path) -> Command {
    use std::os::unix::process::CommandExt as _;
    let program = folder.join("taxi");
    std::fs::copy(crate::support::TAXI, &program).unwrap();
    move |args, home| {
        let mut command = Command::new(&program);
        command.args(args).env("TAXI_HOME", home).env_remove("DATABASE_URL").current_dir("/");
        command.uid(uid).gid(uid);
        command
    }
}

#[test]
fn a_user_without_an_entry_in_the_user_database_is_told_what_initdb_needs() {
    if !is_root() {
        return skipped("only root can start a process of another user");
    }
    let folder = open_tempdir();
    let run = program_of_another_user(folder.path(), 12_345);
    let home = folder.path().join("theirs");
    std::fs::create_dir(&home).unwrap();
    nix::unistd::chown(&home, Some(12_345.into()), None).unwrap();
    for command in ["up", "doctor"] {
        let output = run(&[command], &home).output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(78), "{text}");
        for part in
            ["the user with the id 12345 has no entry in the user database", "initdb", "--database-url"]
        {
            assert!(text.contains(part), "{command}: {text}");
        }
    }
    assert_eq!(std::fs::read_dir(home.join("cache")).unwrap().count(), 0, "something was downloaded");
}

#[test]
fn a_directory_of_another_user_is_named_with_its_owner() {
    if !is_root() {
        return skipped("only root can start a process of another user");
    }
    let server = OwnServer::new();
    up(&server);
    let folder = open_tempdir();
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let run = program_of_another_user(folder.path(), nobody.uid.as_raw());
    for command in [&["up"][..], &["status"], &["down", "--force"], &["psql"], &["runs"]] {
        let error = refusal(&run(command, &server.path()).output().unwrap(), 78);
        let home = server.path();
        let expected = format!("the directory {} belongs to the user root", home.display());
        assert!(
            error.contains(&expected) && error.contains("taxi runs as the user nobody"),
            "{command:?}: {error}"
        );
        assert!(error.contains("run taxi as the user root, or set TAXI_HOME"), "{command:?}: {error}");
    }
    assert_eq!(server.status()["state"], "running");
}

#[test]
fn a_home_whose_path_is_too_long_for_a_socket_works() {
    let folder = open_tempdir();
    let home = folder.path().join("a folder with a long name, ".replace(',', "").repeat(5)).join("home");
    let run = |args: &[&str]| json(&taxi(args).env("TAXI_HOME", &home).output().unwrap());
    let up = run(&["up", "--output", "json"]);
    assert_eq!(connect(&up).value("SHOW unix_socket_directories"), "");
    run(&["down", "--output", "json"]);
}

#[test]
fn down_names_the_running_loads_and_ends_them_only_if_forced() {
    let server = OwnServer::created(None);
    let first = up(&server);
    let database = connect(&first);
    let file = crate::support::month::yellow(20_000);
    // slow enough that the load runs when the server goes, and fast enough that it notices at once
    let site = Server::new(move |_| Reply::ok(file.clone()).at_most(file.len() as u64 / 20));
    let load = server
        .taxi(&["load", "--taxi", "yellow", "--year", "2021", "--month", "1", "--source", &site.address])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let running = "SELECT run_id FROM taxi_etl.runs WHERE status = 'running'";
    crate::support::wait_until("the load runs", || {
        database.value("SELECT to_regclass('taxi_etl.ledger_version') IS NOT NULL") == "t"
            && !database.sql(running).is_empty()
    });
    let run = database.value(running);
    let down = server.taxi(&["down", "--output", "json"]).output().unwrap();
    let error = refusal(&down, 75);
    let expected = format!("yellow_tripdata_2021-01.csv (run {run}) on host ");
    assert!(error.contains(&expected) && error.contains(&format!("(pid {})", load.id())), "{error}");
    assert!(error.contains("use --force to end them"), "{error}");
    assert_eq!(database.sql(running).len(), 1, "the load goes on");

    json(&server.taxi(&["down", "--force", "--output", "json"]).output().unwrap());
    let ended = load.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(69), "{}", String::from_utf8_lossy(&ended.stderr));
    let database = connect(&up(&server));
    assert_eq!(database.value("SELECT status FROM taxi_etl.runs"), "lost");
    // without a running load, and with a ledger that another session has locked
    let other = connect(&up(&server));
    other.sql("BEGIN; LOCK TABLE taxi_etl.runs");
    let error = refusal(&server.taxi(&["down"]).output().unwrap(), 75);
    assert!(error.contains("the ledger has not answered for 5s") && error.contains("--force"), "{error}");
    json(&server.taxi(&["down", "--force", "--output", "json"]).output().unwrap());
    // with a ledger that cannot be read
    let database = connect(&up(&server));
    database.sql("TRUNCATE taxi_etl.ledger_version");
    let error = refusal(&server.taxi(&["down"]).output().unwrap(), 78);
    assert!(
        error.contains("cannot check whether loads use the server") && error.contains("--force"),
        "{error}"
    );
    assert_eq!(
        json(&server.taxi(&["down", "--force", "--output", "json"]).output().unwrap())["state"],
        "stopped"
    );
}

#[test]
fn a_strict_umask_does_not_lock_the_server_out() {
    let server = OwnServer::new();
    let mut shell = Command::new("sh");
    shell.args(["-c", "umask 077; exec \"$0\" up --output json", crate::support::TAXI]);
    // the parent folder of the home does not exist yet
    let home = server.path().parent().unwrap().join("between/home");
    let up = json(&shell.env("TAXI_HOME", &home).env_remove("DATABASE_URL").output().unwrap());
    assert_eq!(connect(&up).value("SELECT 1"), "1");
    json(&taxi(["down", "--output", "json"]).env("TAXI_HOME", &home).output().unwrap());
}

#[test]
fn a_home_with_characters_that_postgres_does_not_accept_is_refused() {
    let folder = open_tempdir();
    for name in ["a,b", "a\"b", "a$HOME", "a`id`", "a\\b", "a\nb"] {
        let output = taxi(["up"]).env("TAXI_HOME", folder.path().join(name)).output().unwrap();
        assert!(
            refusal(&output, 78).contains("a character that PostgreSQL's tools do not support"),
            "{name}"
        );
    }
    let home = folder.path().join("it's a home");
    let up = json(&taxi(["up", "--output", "json"]).env("TAXI_HOME", &home).output().unwrap());
    assert_eq!(connect(&up).value("SELECT 1"), "1");
    json(&taxi(["down", "--output", "json"]).env("TAXI_HOME", &home).output().unwrap());
}

#[test]
fn a_lost_password_is_not_replaced() {
    let server = OwnServer::created(None);
    up(&server);
    json(&server.taxi(&["down", "--output", "json"]).output().unwrap());
    let path = server.path().join("connection.json");
    let text = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let error = refusal(&server.taxi(&["up"]).output().unwrap(), 78);
    assert!(error.contains("connection.json is missing"), "{error}");
    std::fs::write(&path, text).unwrap();
    assert_eq!(up(&server)["state"], "running");
}

/// Returns the folder of the pinned build's archive, in the layout of the mirror: `<version>/<archive>`.
fn real_archives() -> Option<std::path::PathBuf> {
    let folder = std::env::var_os("TAXI_REAL_ARCHIVES").map(std::path::PathBuf::from);
    if folder.is_none() {
        skipped("TAXI_REAL_ARCHIVES is not set");
    }
    folder
}

#[test]
fn the_pinned_build_is_downloaded_from_a_mirror_once_and_runs() {
    let Some(folder) = real_archives() else { return };
    let mirror = Server::folder(&folder);
    let server = OwnServer::new();
    let downloading = |server: &OwnServer| {
        let mut command = server.taxi(&["up", "--output", "json"]);
        command.env("TAXI_POSTGRES_BIN", "download").env("TAXI_POSTGRES_MIRROR", &mirror.address);
        json(&command.output().unwrap())
    };
    let first = downloading(&server);
    assert!(first["version"].as_str().unwrap().starts_with("17."), "{first}");
    json(&server.taxi(&["down", "--output", "json"]).output().unwrap());
    assert_eq!(downloading(&server), first);
    assert_eq!(mirror.requests().len(), 1, "the second time it comes from the cache");
    let args = ["load", "--taxi", "yellow", "--year", "2021", "--month", "1", "--output", "json", "--source"];
    let mut load = server.taxi(&args);
    load.arg(testdata()).env("TAXI_POSTGRES_BIN", "download").env("TAXI_POSTGRES_MIRROR", &mirror.address);
    assert_eq!(json(&load.output().unwrap())["rows_inserted"], 3001);
}

#[test]
fn a_download_that_is_not_the_pinned_build_is_never_unpacked() {
    let server = OwnServer::new();
    let refused = |mirror: &Server, code: i32, expected: &str| {
        let mut command = server.taxi(&["up"]);
        command.env("TAXI_POSTGRES_BIN", "download").env("TAXI_POSTGRES_MIRROR", &mirror.address);
        let error = refusal(&command.output().unwrap(), code);
        assert!(error.contains(expected), "{error}");
        assert!(error.contains("install PostgreSQL 15 or later with"), "{error}");
        assert_eq!(std::fs::read_dir(server.path().join("cache")).unwrap().count(), 0);
    };
    refused(&Server::new(|_| Reply::ok(b"not the archive".to_vec())), 78, "has the SHA-256");
    refused(&Server::new(|_| Reply::status(404)), 78, "404");
    refused(&Server::new(|_| Reply::ok(vec![0; 10]).announcing(100)), 69, "was interrupted");
}
