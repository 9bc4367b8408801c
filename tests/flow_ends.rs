//! Flows that fail, time out or receive a signal: their processes and statements end, and their handlers run.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::flows::{flow, marks, run, sleeping, task, write};
use crate::support::http::{Reply, Server};
use crate::support::month::gzip;
use crate::support::{Database, OwnServer, json as parsed, refusal, wait_until};

#[test]
fn failures_run_their_handlers_and_are_reported() {
    for (how, code, expected, expected_marks) in [
        ("command", 71, "the task command failed", &["error", "finally"][..]),
        ("fail", 71, "because: as asked", &["error", "finally"]),
        ("sql", 65, "because: statement 2 of 2 failed", &["error", "finally"]),
        ("timeout_command", 72, "the task exceeded its timeout of 300ms", &["error", "finally"]),
        ("timeout_sql", 72, "the task exceeded its timeout of 300ms", &["error", "finally"]),
        ("retries", 71, "the task retried failed", &["error", "finally"]),
        ("inner", 71, "the task inner_fail failed", &["inner error", "error", "finally"]),
    ] {
        let database = Database::new("flow_failing");
        let began = Instant::now();
        let output =
            run(&database, &flow("failing.yaml"), &["--input", &format!("how={how}")]).output().unwrap();
        let error = refusal(&output, code);
        assert!(error.contains(expected), "{how}: {error}");
        assert_eq!(marks(&database), expected_marks, "{how}");
        let result: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(result["status"], "failed");
        match how {
            "retries" => assert_eq!(task(&result, "retried")["attempts"].as_array().unwrap().len(), 4),
            "timeout_command" => {
                assert!(began.elapsed() < Duration::from_secs(30), "the timeout did not end the command");
                let log = database.value("SELECT log -> 0 ->> 'message' FROM taxi_etl.task_runs WHERE task_id = 'sleeping_command' AND finished_at IS NOT NULL");
                let child: i32 = log.parse().unwrap();
                wait_until("the command's child is gone", || !is_alive(child));
            }
            "timeout_sql" => wait_until("the statement is gone", || sleeping(&database) == "0"),
            "command" => {
                let log =
                    database.value("SELECT log::text FROM taxi_etl.task_runs WHERE task_id = 'command'");
                assert!(log.contains("before") && !log.contains("never"), "{log}");
            }
            _ => {}
        }
    }
}

#[test]
fn an_exit_ends_the_run_in_its_state_and_no_task_follows_it() {
    let database = Database::new("flow_exits");
    let folder = tempfile::tempdir().unwrap();
    let fail = "type: io.kestra.plugin.core.execution.Fail";
    let path = write(
        &folder,
        &format!(
            "id: exits\nnamespace: taxi.tests\ninputs: [{{id: state, type: STRING}}]\ntasks:\n  \
             - id: outer\n    type: io.kestra.plugin.core.flow.Sequential\n    tasks:\n      \
             - {{id: exit, type: io.kestra.plugin.core.execution.Exit, state: '{{{{ inputs.state }}}}', retry: {{interval: PT10M}}}}\n      \
             - {{id: inner, {fail}}}\n    finally: [{{id: inner_finally, {fail}}}]\n  \
             - {{id: last, {fail}}}\nerrors: [{{id: handled, {fail}}}]\nfinally: [{{id: ended, {fail}}}]\n\
             afterExecution: [{{id: after, type: io.kestra.plugin.core.debug.Return, format: '{{{{ execution.state }}}}'}}]\n"
        ),
    );
    for (state, code, status, after) in [
        ("SUCCESS", 0, "succeeded", "SUCCESS"),
        ("WARNING", 0, "warning", "WARNING"),
        ("FAILED", 71, "failed", "FAILED"),
        ("KILLED", 71, "cancelled", "KILLED"),
        ("CANCELED", 71, "cancelled", "KILLED"),
    ] {
        let output = run(&database, &path, &["--input", &format!("state={state}")]).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{state}: {output:?}");
        if code != 0 {
            let error = refusal(&output, code);
            assert!(error.contains(&format!("the task exit ends the run as {status}")), "{error}");
        }
        let result: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(result["status"], status);
        let ids: Vec<&str> = result["tasks"]
            .as_array()
            .unwrap()
            .iter()
            .map(|task| task["task_id"].as_str().unwrap())
            .collect();
        assert_eq!(ids, ["outer", "exit", "after"], "{state}");
        assert_eq!(task(&result, "after")["outputs"]["value"], after);
    }
}

fn is_alive(pid: i32) -> bool {
    // a zombie counts as dead
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
        wait_until("the statement runs", || sleeping(&database) == "1");
        let pid = Pid::from_raw(child.id() as i32);
        let find_shell = || {
            let listed = Command::new("pgrep").args(["-P", &pid.to_string()]).output().unwrap();
            String::from_utf8(listed.stdout).unwrap().trim().parse::<i32>().ok()
        };
        let mut shell = None;
        wait_until("the command runs", || {
            shell = find_shell();
            shell.is_some()
        });
        let began = Instant::now();
        kill(pid, signal).unwrap();
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}: {stderr}", began.elapsed());
        assert!(!stderr.contains("never"), "{stderr}");
        assert!(!is_alive(shell.unwrap()), "the command is still running");
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
fn a_frozen_server_does_not_block_the_end_of_a_run() {
    let server = OwnServer::created(None);
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
    let stderr: Vec<String> = lines.map(Result::unwrap).collect();
    let status = child.wait().unwrap();
    let duration = began.elapsed();
    frozen.iter().for_each(|pid| kill(*pid, Signal::SIGCONT).unwrap());
    assert_eq!(status.code(), Some(143), "{stderr:?}");
    assert!(duration < Duration::from_secs(5), "{duration:?}");
    assert!(stderr.concat().contains("cannot record the end of the run in the ledger"), "{stderr:?}");
}

#[test]
fn a_task_that_times_out_runs_its_handlers_and_gives_its_processes_time_to_exit() {
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
    assert!(error.contains("the task exceeded its timeout of 1s"), "{error}");
    assert_eq!(marks(&database), ["error", "finally"]);
    assert!(trapped.exists(), "the child of the shell had no time to exit by itself");
}

#[test]
fn a_load_that_times_out_does_not_ask_for_a_second_signal() {
    let csv = gzip(format!("at,a\n{}", "2021-01-01 00:00:00,x\n".repeat(10_000)).as_bytes());
    let site = Server::new(move |_| Reply::ok(csv.clone()).stalling_at(csv.len() / 2));
    let folder = tempfile::tempdir().unwrap();
    let path = write(
        &folder,
        &format!(
            "id: slow\nnamespace: taxi.tests\ntasks:\n  - id: load\n    type: taxi.postgresql.Load\n    timeout: PT1S\n    \
             from: {}/t.csv.gz\n    table: t\n    timeColumn: at\n    period: 2021-01\n    filename: f\n    \
             filenameColumn: f\n    rowKeyColumn: k\n    rowKey: [a]\n",
            site.address
        ),
    );
    let database = Database::new("flow_slow_load");
    database.sql("CREATE TABLE t (k text, f text, at timestamp, a text)");
    let error = refusal(&run(&database, &path, &[]).output().unwrap(), 72);
    assert!(error.contains("a task of a flow took longer than its timeout: rolling back\n"), "{error}");
    assert!(!error.contains("second signal"), "{error}");
    assert_eq!(database.value("SELECT count(*) FROM t"), "0");
}

#[test]
fn a_statement_with_too_many_rows_is_cancelled() {
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
    wait_until("the statement has ended", || database.value(running) == "0");
}

#[test]
fn a_flow_that_calls_itself_fails() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(
        &folder,
        "id: again\nnamespace: taxi.tests\ntasks:\n  - id: call\n    type: io.kestra.plugin.core.flow.Subflow\n    \
         namespace: taxi.tests\n    flowId: again\n",
    );
    let database = Database::new("flow_recursion");
    let error = refusal(&run(&database, &path, &[]).output().unwrap(), 78);
    assert!(error.contains("check whether a flow calls itself"), "{error}");
}
