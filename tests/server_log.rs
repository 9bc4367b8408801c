//! `taxi logs` prints and follows the embedded server's log.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Database, OwnServer, json, refusal};

fn lines(server: &OwnServer, args: &[&str]) -> Vec<String> {
    let output = server.taxi(&[&["logs"], args].concat()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// A `taxi logs --follow`, with its lines.
struct Follower {
    child: Child,
    lines: Receiver<String>,
}

impl Follower {
    fn start(server: &OwnServer) -> Self {
        let mut follow = server.taxi(&["logs", "--follow", "--lines", "1"]);
        let mut child = follow.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok());
        });
        Self { child, lines }
    }

    /// Waits for a line that contains `part`.
    fn wait_for(&self, part: &str) {
        while !self.lines.recv_timeout(Duration::from_secs(60)).unwrap().contains(part) {}
    }
}

#[test]
fn the_log_is_printed_while_the_server_runs_and_after_it_has_stopped() {
    let error = refusal(&OwnServer::new().taxi(&["logs"]).output().unwrap(), 78);
    assert!(error.contains("there is no embedded server in") && error.contains("'taxi up'"), "{error}");

    let server = OwnServer::created(None);
    let up = json(&server.taxi(&["up", "--output", "json"]).output().unwrap());
    let database = Database::connect(up["database_url"].as_str().unwrap().to_owned(), String::new());
    for number in 0..120 {
        database.sql(&format!("DO $$ BEGIN RAISE LOG 'line {number}.'; END $$"));
    }
    let all = lines(&server, &["--lines", "1000000"]);
    assert!(all.iter().any(|line| line.contains("line 0.")), "{all:?}");
    assert_eq!(lines(&server, &[]), all[all.len() - 100..]);
    assert_eq!(lines(&server, &["--lines", "3"]), all[all.len() - 3..]);

    json(&server.taxi(&["down", "--output", "json"]).output().unwrap());
    let last = lines(&server, &["--lines", "1"]);
    assert!(last[0].contains("database system is shut down"), "{last:?}");

    std::fs::remove_file(server.path().join("log/server.log")).unwrap();
    let error = refusal(&server.taxi(&["logs"]).output().unwrap(), 78);
    assert!(error.contains("the embedded server has no log yet"), "{error}");
}

#[test]
fn the_log_is_followed_across_truncation_and_rotation_until_ctrl_c() {
    let server = OwnServer::created(None);
    json(&server.taxi(&["up", "--output", "json"]).output().unwrap());
    let path = server.path().join("log/server.log");
    let append = |text: &str| {
        let mut log = std::fs::OpenOptions::new().append(true).create(true).open(&path).unwrap();
        writeln!(log, "{text}").unwrap();
    };
    let follower = Follower::start(&server);
    append("first");
    follower.wait_for("first");

    std::fs::File::create(&path).unwrap();
    append("after the truncation");
    follower.wait_for("after the truncation");

    // the last line before the rotation is in the old file
    append("last of the old file");
    std::fs::rename(&path, path.with_extension("log.1")).unwrap();
    append("first of the new file");
    follower.wait_for("last of the old file");
    follower.wait_for("first of the new file");

    kill(Pid::from_raw(follower.child.id() as i32), Signal::SIGINT).unwrap();
    let ended = follower.child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), b"".as_slice()));
}

#[test]
fn a_reader_that_closes_the_pipe_ends_the_log() {
    let server = OwnServer::created(None);
    json(&server.taxi(&["up", "--output", "json"]).output().unwrap());
    let mut follower = Follower::start(&server);
    follower.lines.recv_timeout(Duration::from_secs(60)).unwrap();
    drop(follower.lines);
    let mut log =
        std::fs::OpenOptions::new().append(true).open(server.path().join("log/server.log")).unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    // the pipe breaks at the first line after its reader has gone
    let status = loop {
        writeln!(log, "another line").unwrap();
        if let Some(status) = follower.child.try_wait().unwrap() {
            break status;
        }
        assert!(std::time::Instant::now() < deadline, "the command goes on");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(status.code(), Some(0));
}
