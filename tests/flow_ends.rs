//! Flows that fail, take too long, or are told to end: what is under way ends with them, and what is to follow does.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::flows::{flow, marks, run, sleeping, task, write};
use crate::support::{Database, OwnServer, json as parsed, refusal, wait_until};

#[test]
fn what_fails_is_handled_and_told() {
    for (how, code, said, marked) in [
        ("command", 71, "the task command failed", &["error", "finally"][..]),
        ("fail", 71, "because: as asked", &["error", "finally"]),
        ("sql", 65, "because: statement 2 of 2 failed", &["error", "finally"]),
        ("timeout_command", 72, "it was ended after its timeout of 300ms", &["error", "finally"]),
        ("timeout_sql", 72, "it was ended after its timeout of 300ms", &["error", "finally"]),
        ("retries", 71, "the task retried failed", &["error", "finally"]),
        ("inner", 71, "the task inner_fail failed", &["inner error", "error", "finally"]),
    ] {
        let database = Database::new("flow_failing");
        let began = Instant::now();
        let output =
            run(&database, &flow("failing.yaml"), &["--input", &format!("how={how}")]).output().unwrap();
        let error = refusal(&output, code);
        assert!(error.contains(said), "{how}: {error}");
        assert_eq!(marks(&database), marked, "{how}");
        let result: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(result["status"], "failed");
        match how {
            "retries" => assert_eq!(task(&result, "retried")["attempts"].as_array().unwrap().len(), 4),
            "timeout_command" => {
                assert!(began.elapsed() < Duration::from_secs(30), "the timeout did not end it");
                let log = database.value("SELECT log -> 0 ->> 'message' FROM taxi_etl.task_runs WHERE task_id = 'sleeping_command' AND finished_at IS NOT NULL");
                let left_behind: i32 = log.parse().unwrap();
                wait_until("the command's child is gone", || !is_alive(left_behind));
            }
            "timeout_sql" => wait_until("its statement is gone", || sleeping(&database) == "0"),
            "command" => {
                let log =
                    database.value("SELECT log::text FROM taxi_etl.task_runs WHERE task_id = 'command'");
                assert!(log.contains("before") && !log.contains("never"), "{log}");
            }
            _ => {}
        }
    }
}

fn is_alive(pid: i32) -> bool {
    // what nobody has waited for yet is dead all the same
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !state.is_empty() && !state.contains(") Z ")
}

#[test]
fn a_signal_ends_children_and_statements_and_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(
        &folder,
        "id: long\nnamespace: taxi.tests\ntasks:\n  - id: both\n    type: io.kestra.plugin.core.flow.Parallel\n    tasks:\n      \
         - id: child\n        type: io.kestra.plugin.scripts.shell.Commands\n        commands: ['trap \"\" TERM', 'echo $$', 'sleep 600 & wait', 'sleep 600']\n      \
         - id: statement\n        type: io.kestra.plugin.jdbc.postgresql.Query\n        sql: SELECT pg_sleep(600)\n\
         errors:\n  - id: never\n    type: io.kestra.plugin.core.log.Log\n    message: never\n",
    );
    let scratch = tempfile::tempdir().unwrap();
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        let database = Database::new("flow_signals");
        let mut command = run(&database, &path, &[]);
        command.env("TMPDIR", scratch.path()).args(["--log-format", "json"]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        wait_until("its statement runs", || sleeping(&database) == "1");
        let pid = Pid::from_raw(child.id() as i32);
        let shell = || {
            let listed = Command::new("pgrep").args(["-P", &pid.to_string()]).output().unwrap();
            String::from_utf8(listed.stdout).unwrap().trim().parse::<i32>().ok()
        };
        let mut group = None;
        wait_until("its command runs", || {
            group = shell();
            group.is_some()
        });
        let began = Instant::now();
        kill(pid, signal).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}: {said}", began.elapsed());
        assert!(!said.contains("never"), "{said}");
        assert!(!is_alive(group.unwrap()), "the command is still there");
        wait_until("no statement is left", || sleeping(&database) == "0");
        assert_eq!(database.value("SELECT status FROM taxi_etl.runs"), "cancelled");
        assert_eq!(
            database.value("SELECT string_agg(DISTINCT status, ' ') FROM taxi_etl.task_runs"),
            "cancelled"
        );
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0, "files are left behind");
    }
}

#[test]
fn a_frozen_server_does_not_keep_a_run_from_ending() {
    let server = OwnServer::new();
    parsed(&server.taxi(&["up", "--output", "json"]).output().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = write(
        &folder,
        "id: frozen\nnamespace: taxi.tests\ntasks:\n  - id: outer\n    type: io.kestra.plugin.core.flow.Sequential\n    tasks:\n      \
         - id: statement\n        type: io.kestra.plugin.jdbc.postgresql.Query\n        sql: SELECT pg_sleep(600)\n",
    );
    let mut command = server.taxi(&["run", path.to_str().unwrap(), "--log-format", "json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    lines.find(|line| line.as_ref().unwrap().contains(r#""task":"statement""#)).unwrap().unwrap();
    let frozen = server.processes();
    frozen.iter().for_each(|pid| kill(*pid, Signal::SIGSTOP).unwrap());
    let began = Instant::now();
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    let said: Vec<String> = lines.map(Result::unwrap).collect();
    let status = child.wait().unwrap();
    let took = began.elapsed();
    frozen.iter().for_each(|pid| kill(*pid, Signal::SIGCONT).unwrap());
    assert_eq!(status.code(), Some(143), "{said:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(said.concat().contains("the run's end is not in the ledger"), "{said:?}");
}

#[test]
fn ends_of_a_task_that_timed_out_run_and_its_processes_get_their_grace() {
    let folder = tempfile::tempdir().unwrap();
    let trapped = folder.path().join("trapped");
    let path = write(
        &folder,
        &format!(
            "id: late\nnamespace: taxi.tests\ntasks:\n  - id: table\n    type: io.kestra.plugin.jdbc.postgresql.Query\n    \
             sql: CREATE TABLE marks (mark text)\n  - id: outer\n    type: io.kestra.plugin.core.flow.Sequential\n    timeout: PT1S\n    \
             tasks:\n      - id: child\n        type: io.kestra.plugin.scripts.shell.Commands\n        interpreter: [/bin/bash, -ec]\n        \
             commands: [\"bash -c 'trap \\\"sleep 0.5; touch {0}; exit\\\" TERM; sleep 600 & wait' & wait\"]\n    errors:\n      \
             - {{id: error, type: io.kestra.plugin.jdbc.postgresql.Query, sql: INSERT INTO marks VALUES ('error')}}\n    finally:\n      \
             - {{id: end, type: io.kestra.plugin.jdbc.postgresql.Query, sql: INSERT INTO marks VALUES ('finally')}}\n",
            trapped.display()
        ),
    );
    let database = Database::new("flow_late");
    let error = refusal(&run(&database, &path, &[]).output().unwrap(), 72);
    assert!(error.contains("it was ended after its timeout of 1s"), "{error}");
    assert_eq!(marks(&database), ["error", "finally"]);
    assert!(trapped.exists(), "the process behind the shell had no time to end by itself");
}

#[test]
fn a_statement_whose_rows_are_too_many_does_not_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(
        &folder,
        "id: many\nnamespace: taxi.tests\ntasks:\n  - id: t\n    type: io.kestra.plugin.jdbc.postgresql.Query\n    fetchType: FETCH\n    \
         sql: SELECT generate_series(1, 2000000000) AS too_many\n",
    );
    let database = Database::new("flow_many_rows");
    let error = refusal(&run(&database, &path, &[]).output().unwrap(), 78);
    assert!(error.contains("more than 100000 rows") && error.contains("STORE"), "{error}");
    let running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%too_many%' AND state = 'active' AND pid <> pg_backend_pid()";
    wait_until("it is ended", || database.value(running) == "0");
}

#[test]
fn a_flow_that_calls_itself_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(
        &folder,
        "id: again\nnamespace: taxi.tests\ntasks:\n  - id: call\n    type: io.kestra.plugin.core.flow.Subflow\n    \
         namespace: taxi.tests\n    flowId: again\n",
    );
    let database = Database::new("flow_recursion");
    let error = refusal(&run(&database, &path, &[]).output().unwrap(), 78);
    assert!(error.contains("does one call itself?"), "{error}");
}
