//! The databases and sessions of a flow: which database it uses, which sessions its tasks get, how many of its runs
//! are in progress.

use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::support::flows::{run, sleeping, task, write};
use crate::support::{Database, json as parsed, refusal, taxi, wait_until};

#[test]
fn the_concurrency_limit_of_a_flow_holds_across_processes() {
    let folder = tempfile::tempdir().unwrap();
    let flow = |behavior: &str| {
        format!(
            "id: alone\nnamespace: taxi.tests\nconcurrency: {{limit: 1, behavior: {behavior}}}\ninputs: [{{id: seconds, type: INT}}]\n\
             tasks:\n  - id: wait\n    type: io.kestra.plugin.jdbc.postgresql.Query\n    sql: SELECT pg_sleep({{{{ inputs.seconds }}}})\n"
        )
    };
    let database = Database::new("flow_concurrency");
    let path = write(&folder, &flow("QUEUE"));
    let mut first = run(&database, &path, &["--input", "seconds=600"]);
    let mut first = first.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("the first run is running", || sleeping(&database) == "1");
    for (behavior, hint) in [
        ("FAIL", "set it to QUEUE"),
        ("CANCEL", "set it to QUEUE"),
        ("QUEUE", "use --lock-timeout to wait longer"),
    ] {
        let path = write(&folder, &flow(behavior));
        let output =
            run(&database, &path, &["--input", "seconds=0", "--lock-timeout", "1"]).output().unwrap();
        let error = refusal(&output, 75);
        assert!(
            error.contains("the flow taxi.tests.alone has reached its concurrency limit of 1")
                && error.contains(hint),
            "{error}"
        );
    }
    let mut second = run(&database, &path, &["--input", "seconds=0"]);
    let second = second.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    kill(Pid::from_raw(first.id() as i32), Signal::SIGKILL).unwrap();
    first.wait().unwrap();
    // a killed run does not count, although its statement may continue for a while
    parsed(&second.wait_with_output().unwrap());
    assert_eq!(
        database.value("SELECT string_agg(status, ' ' ORDER BY started_at) FROM taxi_etl.runs"),
        "running succeeded"
    );
    database.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND datname = current_database() AND pid <> pg_backend_pid()");
}

#[test]
fn an_explicit_database_replaces_the_flows_own() {
    let folder = tempfile::tempdir().unwrap();
    let text = |url: &str| {
        format!(
            "id: own\nnamespace: taxi.tests\ntasks:\n  - id: one\n    type: io.kestra.plugin.jdbc.postgresql.Query\n    \
             fetchType: FETCH_ONE\n    sql: SELECT current_database() AS name\n\
             pluginDefaults:\n  - type: io.kestra.plugin.jdbc\n    values: {{url: '{url}', username: root, password: 'hunter2'}}\n"
        )
    };
    let database = Database::new("flow_given");
    let path = write(&folder, &text("jdbc:postgresql://pgdatabase.invalid:5432/ny_taxi"));
    let result = parsed(&run(&database, &path, &[]).output().unwrap());
    assert_eq!(task(&result, "one")["outputs"]["row"]["name"], database.name());

    let output = taxi(["run", "--output", "json", path.to_str().unwrap()]).output().unwrap();
    let error = refusal(&output, 69);
    assert!(error.contains("pgdatabase.invalid:5432/ny_taxi"), "{error}");
    assert!(
        error.contains("use --database-url or DATABASE_URL to run all tasks on another database"),
        "{error}"
    );
    assert!(!error.contains("hunter2"), "{error}");

    // without an explicit database, the flow's own is used, and has the history
    let own = url::Url::parse(&database.url).unwrap();
    let address = format!("jdbc:postgresql://127.0.0.1:{}{}", own.port().unwrap(), own.path());
    let password = own.password().unwrap();
    let path = write(
        &folder,
        &text(&address).replace("root", own.username()).replace("hunter2", "{{ secret(\"FLOW_PASSWORD\") }}"),
    );
    let mut command = taxi(["run", "--output", "json", path.to_str().unwrap()]);
    let output = command.env("FLOW_PASSWORD", password).output().unwrap();
    assert_eq!(task(&parsed(&output), "one")["outputs"]["row"]["name"], database.name());
    assert_eq!(database.value("SELECT count(*) FROM taxi_etl.runs"), "2");
}

#[test]
fn sessions_are_reset_before_they_are_reused() {
    let folder = tempfile::tempdir().unwrap();
    let query = |id: &str, sql: &str| {
        format!(
            "  - id: {id}\n    type: io.kestra.plugin.jdbc.postgresql.Queries\n    fetchType: FETCH\n    sql: \"{sql}\"\n"
        )
    };
    let path = write(
        &folder,
        &format!(
            "id: sessions\nnamespace: taxi.tests\ntasks:\n{}{}",
            query(
                "first",
                "SET statement_timeout = 12345; CREATE TEMPORARY TABLE mine (); SELECT pg_backend_pid() AS pid"
            ),
            query(
                "second",
                "SELECT pg_backend_pid() AS pid, current_setting('statement_timeout') AS timeout, to_regclass('mine') AS mine, current_setting('default_transaction_isolation') AS isolation"
            ),
        ),
    );
    let database = Database::new("flow_sessions");
    database.sql("ALTER DATABASE flow_sessions SET default_transaction_isolation = 'serializable'");
    let result = parsed(&run(&database, &path, &[]).output().unwrap());
    let row =
        |id: &str, statement: usize| task(&result, id)["outputs"]["outputs"][statement]["rows"][0].clone();
    let second = row("second", 0);
    assert_eq!(row("first", 0)["pid"], second["pid"], "the second task uses another session");
    assert_eq!((&second["timeout"], &second["mine"]), (&json!("0"), &Value::Null));
    assert_eq!(second["isolation"], "read committed", "the session is not configured again");
}
