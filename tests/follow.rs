//! `taxi runs show --follow` shows a run while it is under way, and ends when the run ends.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

use crate::support::http::{Reply, Server};
use crate::support::{Database, flows, json, taxi, testdata, wait_until};

fn follow(database: &Database, run: &str, args: &[&str]) -> Command {
    let mut command = taxi(["runs", "show", "--follow", run]);
    command.args(args).env("DATABASE_URL", &database.url);
    command
}

/// Starts a load of a file whose second half arrives when the returned flag is true. Returns the load with its run id.
fn held_load(database: &Database) -> (Arc<AtomicBool>, Child, String) {
    let file = crate::support::month::yellow(20_000);
    let released = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&released);
    let site = Server::new(move |_| Reply::ok(file.clone()).held_until(&flag));
    let mut load = database.load("yellow", 2021, 1, &site.address);
    let load = load.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let run = running(database);
    (released, load, run)
}

/// Waits until a run is under way, and returns its id.
fn running(database: &Database) -> String {
    let runs = || {
        let list = taxi(["runs", "--status", "running", "--output", "json"])
            .env("DATABASE_URL", &database.url)
            .output()
            .unwrap();
        json(&list)["runs"].as_array().unwrap().clone()
    };
    wait_until("a run is under way", || !runs().is_empty());
    runs()[0]["run_id"].as_str().unwrap().to_owned()
}

/// A follower whose stderr is read line by line.
fn start(mut command: Command) -> (Child, Receiver<String>) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (sender, lines) = channel();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    std::thread::spawn(move || stderr.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok()));
    (child, lines)
}

fn wait_for(lines: &Receiver<String>, part: &str) {
    while !lines.recv_timeout(Duration::from_secs(60)).unwrap().contains(part) {}
}

#[test]
fn a_load_is_followed_from_phase_to_phase_until_it_ends() {
    let database = Database::new("follow_load");
    let (released, load, run) = held_load(&database);
    // the beginning of the id is enough
    let (follower, lines) = start(follow(&database, &run[..13], &["--output", "json"]));
    wait_for(&lines, "prepare: ended");
    wait_for(&lines, "load: started");
    released.store(true, Ordering::Relaxed);
    wait_for(&lines, "load: ended");
    let shown = follower.wait_with_output().unwrap();
    let shown = json(&shown);
    assert_eq!((&shown["run_id"], &shown["status"]), (&run.as_str().into(), &"succeeded".into()));
    assert_eq!(json(&load.wait_with_output().unwrap())["run_id"], run.as_str());

    // a run that has ended is shown at once, as without --follow
    let at_once = follow(&database, &run, &[]).output().unwrap();
    let plain = taxi(["runs", "show", &run]).env("DATABASE_URL", &database.url).output().unwrap();
    assert!(at_once.status.success() && at_once.stderr.is_empty());
    assert_eq!(at_once.stdout, plain.stdout);
}

#[test]
fn a_run_that_is_killed_while_it_is_followed_ends_as_lost() {
    let database = Database::new("follow_kill");
    let (_released, mut load, run) = held_load(&database);
    let (follower, lines) = start(follow(&database, &run, &["--output", "json"]));
    wait_for(&lines, "load: started");
    load.kill().unwrap();
    load.wait().unwrap();
    assert_eq!(json(&follower.wait_with_output().unwrap())["status"], "lost");
}

#[test]
fn a_flow_is_followed_from_task_to_task() {
    let database = Database::new("follow_flow");
    let folder = tempfile::tempdir().unwrap();
    let go = folder.path().join("go");
    let text = format!(
        "id: slow\nnamespace: test\ntasks:\n  - id: first\n    type: io.kestra.plugin.core.log.Log\n    message: hello\n  \
         - id: second\n    type: io.kestra.plugin.scripts.shell.Commands\n    taskRunner:\n      type: \
         io.kestra.plugin.core.runner.Process\n    commands:\n      - until [ -e '{}' ]; do sleep 0.1; done\n",
        go.display()
    );
    let path = flows::write(&folder, &text);
    let mut flow = flows::run(&database, &path, &[]);
    let flow = flow.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let run = running(&database);
    let (follower, lines) = start(follow(&database, &run, &[]));
    wait_for(&lines, "second: running");
    std::fs::write(go, "").unwrap();
    wait_for(&lines, "second: succeeded");
    let shown = follower.wait_with_output().unwrap();
    let text = String::from_utf8(shown.stdout).unwrap();
    assert!(text.contains(&format!("{run} succeeded")) && text.contains("tasks\n"), "{text}");
    let result: Value = json(&flow.wait_with_output().unwrap());
    assert_eq!(result["run_id"], run.as_str());
}

#[test]
fn following_writes_the_phases_to_the_ledger_a_few_times_only() {
    let database = Database::new("follow_writes");
    json(&database.load("yellow", 2021, 1, testdata().to_str().unwrap()).output().unwrap());
    // one insert; then one update for each of the phases load, count duplicates and commit, and one for the end
    let written = "SELECT n_tup_ins, n_tup_upd FROM pg_stat_user_tables WHERE relname = 'runs'";
    wait_until("each session has reported what it has written", || database.sql(written)[0] == ["1", "4"]);
}
