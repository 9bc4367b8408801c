//! Connection poolers in front of the server: those that do not keep a session's server process are refused, the others
//! may have a pool that is too small.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::month::{gzip, write, yellow_csv};
use crate::support::pooler::Pooler;
use crate::support::{Database, flows, json, refusal, taxi, testdata, wait_until};

/// The settings of a session that taxi changes.
const SETTINGS: [&str; 6] = [
    "search_path",
    "lock_timeout",
    "statement_timeout",
    "default_transaction_isolation",
    "tcp_keepalives_idle",
    "idle_in_transaction_session_timeout",
];

fn settings(database: &Database) -> Vec<String> {
    SETTINGS.map(|name| database.value(&format!("SHOW {name}"))).to_vec()
}

fn through(pooler: &Pooler) -> Database {
    Database::connect(pooler.url.clone(), String::new())
}

#[test]
fn a_pooler_that_does_not_keep_sessions_is_refused_at_once_and_left_as_it_was() {
    let database = Database::new("pooled_transactions");
    database.sql(
        "ALTER DATABASE pooled_transactions SET statement_timeout = '7s'; \
         ALTER DATABASE pooled_transactions SET lock_timeout = '6s'",
    );
    let direct = settings(&Database::connect(database.url.clone(), String::new()));
    let source = testdata();
    let source = source.to_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let month = ["--taxi", "yellow", "--year", "2021"];
    for (mode, others) in [
        // the process that became idle last is used first; with server_round_robin, the one that did first
        ("transaction", 0),
        ("transaction\nserver_round_robin = 1", 0),
        ("transaction", 2),
        ("transaction\nserver_round_robin = 1", 1),
        ("transaction\nserver_round_robin = 1", 2),
        ("transaction\ndefault_pool_size = 1", 0),
        ("statement", 0),
    ] {
        let Some(pooler) = Pooler::start(&database.url, &format!("pool_mode = {mode}")) else { return };
        // processes that other clients have left idle
        let clients: Vec<Database> = (0..others).map(|_| through(&pooler)).collect();
        clients.iter().for_each(|client| _ = client.sql("BEGIN; SELECT 1"));
        clients.iter().for_each(|client| _ = client.sql("ROLLBACK"));

        let began = Instant::now();
        let error = refusal(
            &database.load("yellow", 2021, 1, source).env("DATABASE_URL", &pooler.url).output().unwrap(),
            78,
        );
        assert!(began.elapsed() < Duration::from_secs(5), "{mode}: it took {:?}", began.elapsed());
        assert!(
            error.contains("connection pooler in transaction or statement mode")
                && error.contains("connect to the server itself, or to the pooler in session mode"),
            "{mode}, {others} others: {error}"
        );
        let flow = flows::write(
            &folder,
            &format!(
                "id: pooled\nnamespace: taxi.tests\ntasks:\n  - id: one\n    type: io.kestra.plugin.jdbc.postgresql.Query\n    \
                 url: {}\n    sql: SELECT 1\n    fetchType: FETCH\n",
                pooler.url
            ),
        );
        let range =
            ["backfill", "--taxi", "yellow", "--from", "2021-01", "--to", "2021-01", "--source", source];
        for command in [
            &["runs"][..],
            &[&["verify"][..], &month].concat(),
            &range,
            &[&range[..], &["--plan"]].concat(),
            &["doctor", "--source", source],
            &["run", flow.to_str().unwrap()],
        ] {
            let output = taxi(command).env("DATABASE_URL", &pooler.url).output().unwrap();
            let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
            assert_eq!(output.status.code(), Some(78), "{mode}: {command:?}: {text}");
            assert!(text.contains("transaction or statement mode"), "{mode}: {command:?}: {text}");
        }
        let after = through(&pooler);
        assert_eq!(settings(&after), direct, "{mode}: a setting is left behind");
    }
    let created = "SELECT count(*) FROM pg_namespace WHERE nspname = 'taxi_etl'";
    assert_eq!(database.value(created), "0");
}

#[test]
fn a_pooler_in_session_mode_is_used_and_no_setting_is_left_behind() {
    let database = Database::new("pooled_sessions");
    let direct = settings(&database);
    let Some(pooler) = Pooler::start(&database.url, "pool_mode = session\ndefault_pool_size = 3") else {
        return;
    };
    let source = testdata();
    let mut load = database.load("yellow", 2021, 1, source.to_str().unwrap());
    assert_eq!(json(&load.env("DATABASE_URL", &pooler.url).output().unwrap())["rows_inserted"], 3001);
    json(&taxi(["runs", "--output", "json"]).env("DATABASE_URL", &pooler.url).output().unwrap());
    // as many clients as the pool has processes see all of them
    let clients: Vec<Database> = (0..3).map(|_| through(&pooler)).collect();
    for client in &clients {
        assert_eq!(settings(client), direct);
        let locks = client.value(
            "SELECT count(*) FROM pg_locks JOIN pg_database ON oid = database \
             WHERE datname = current_database() AND locktype = 'advisory'",
        );
        assert_eq!(locks, "0");
    }
    drop(clients);
    std::thread::sleep(Duration::from_secs(3)); // the processes of the pool become older than the next connection
    let doctor = taxi(["doctor", "--output", "json", "--source", source.to_str().unwrap()])
        .env("DATABASE_URL", &pooler.url)
        .output()
        .unwrap();
    let text = String::from_utf8(doctor.stdout).unwrap();
    assert!(doctor.status.success() && text.contains("of a connection pooler, in session mode"), "{text}");
}

#[test]
fn a_load_says_that_it_waits_for_a_free_connection_of_the_pool() {
    let database = Database::new("pool_exhausted");
    let Some(pooler) = Pooler::start(&database.url, "pool_mode = session\ndefault_pool_size = 3") else {
        return;
    };
    let others = [through(&pooler), through(&pooler)];
    others.iter().for_each(|other| _ = other.sql("SELECT 1"));
    let source = testdata();
    let source = source.to_str().unwrap();
    let notice = "waiting for the database at 127.0.0.1:";

    let mut load = database.load("yellow", 2021, 1, source);
    let began = Instant::now();
    let limited = load.env("DATABASE_URL", &pooler.url).args(["--database-timeout", "6s"]).output().unwrap();
    let error = refusal(&limited, 69);
    assert!((6..12).contains(&began.elapsed().as_secs()), "after {:?}: {error}", began.elapsed());
    assert!(error.contains(notice) && error.contains("pool of a connection pooler is exhausted"), "{error}");
    assert!(error.contains("has not answered a session's first statement for 6s"), "{error}");
    assert!(error.contains("fewer --jobs, enlarge the pool"), "{error}");

    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut load = database.load("yellow", 2021, 1, source);
    load.env("DATABASE_URL", &pooler.url).stdout(Stdio::piped()).stderr(std::fs::File::create(&log).unwrap());
    let load = load.spawn().unwrap();
    wait_until("the load says that it waits", || std::fs::read_to_string(&log).unwrap().contains(notice));
    drop(others);
    assert_eq!(json(&load.wait_with_output().unwrap())["rows_inserted"], 3001);
    assert_eq!(std::fs::read_to_string(&log).unwrap().matches(notice).count(), 1);
}

#[test]
fn four_loads_side_by_side_share_a_pool_of_three() {
    let database = Database::new("small_pool");
    let Some(pooler) = Pooler::start(&database.url, "pool_mode = session\ndefault_pool_size = 3") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    for month in ["2021-01", "2021-02", "2021-03", "2021-04"] {
        write(folder.path(), "yellow", month, &gzip(yellow_csv(500, month).as_bytes()));
    }
    let mut backfill =
        taxi(["backfill", "--taxi", "yellow", "--from", "2021-01", "--to", "2021-04", "--jobs", "4"]);
    backfill.args(["--output", "json", "--source"]).arg(folder.path()).env("DATABASE_URL", &pooler.url);
    let result = json(&backfill.output().unwrap());
    assert_eq!((&result["files_loaded"], &result["rows_inserted"]), (&4.into(), &2000.into()));
}

#[test]
fn a_role_that_may_open_one_connection_can_list_runs() {
    let database = Database::new("one_connection");
    json(&database.load("yellow", 2021, 1, testdata().to_str().unwrap()).output().unwrap());
    database.sql(
        "DROP ROLE IF EXISTS one; CREATE ROLE one LOGIN PASSWORD 'one' CONNECTION LIMIT 1; \
         GRANT USAGE ON SCHEMA taxi_etl TO one; GRANT SELECT ON ALL TABLES IN SCHEMA taxi_etl TO one",
    );
    let url = format!("postgresql://one:one@{}", database.url.split_once('@').unwrap().1);
    let runs = json(&taxi(["runs", "--output", "json"]).env("DATABASE_URL", &url).output().unwrap());
    assert!(runs.to_string().contains("yellow_tripdata_2021-01.csv"), "{runs}");
    // a load needs two
    let load = database.load("yellow", 2021, 1, "testdata").env("DATABASE_URL", &url).output().unwrap();
    assert!(refusal(&load, 69).contains("too many connections"));
    database.sql("DROP OWNED BY one; DROP ROLE one");
}
