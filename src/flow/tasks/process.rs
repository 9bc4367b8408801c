//! Child processes: reads their output line by line, and stops them when the task ends.
//!
//! Each child runs in its own process group. The whole group is terminated when the task is cancelled, and when
//! the child itself exits.

use std::cell::{Cell, RefCell};
use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};

use crate::error::{Error, Kind, Result};
use crate::flow::context::task_run::{Outputs, TaskRun};
use crate::flow::tasks::lines;

/// How long to wait after SIGTERM before SIGKILL is sent.
const GRACE_PERIOD: Duration = Duration::from_secs(2);
/// How often to check whether the processes have exited.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How long to wait for the remaining output after the child has exited: a background process may hold the pipe
/// open.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(1);
/// Maximum length of a line; the rest of a longer line counts as the next line.
const LINE_LIMIT_BYTES: u64 = 64 * 1024;

/// The environment variables that a process needs to run and to reach the network. All others stay in the taxi
/// process: they may hold credentials.
const INHERITED: [&str; 15] = [
    "PATH",
    "HOME",
    "LANG",
    "TZ",
    "TMPDIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

fn is_inherited(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| INHERITED.contains(&name) || name.starts_with("LC_"))
}

/// The result of a process.
pub(crate) struct ProcessResult {
    /// The exit code, or 128 plus the signal number if a signal ended the process.
    pub(crate) exit_code: i32,
    /// The outputs that it printed in lines of the form `::{"outputs": {…}}::`.
    pub(crate) vars: Outputs,
    /// Whether it wrote text to stderr.
    pub(crate) wrote_to_stderr: bool,
}

/// A command that runs on this machine, with the variables that a process needs.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().envs(std::env::vars_os().filter(|(name, _)| is_inherited(name)));
    command
}

/// Runs a command. Its output is written to the task's log, and the results in it are taken.
pub(crate) async fn run(run: &TaskRun<'_>, command: Command) -> Result<ProcessResult> {
    let mut command = command;
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let mut child = command
        .spawn()
        .map_err(|cause| Error::file("run", Path::new(command.as_std().get_program()), cause))?;
    let group = Group::of(&child);
    let (vars, wrote_to_stderr) = (RefCell::new(Outputs::new()), Cell::new(false));
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let mut output = std::pin::pin!(async {
        let take = |line: &str| lines::take(run, line, &mut vars.borrow_mut());
        tokio::join!(
            read_lines(stdout, |line| _ = take(line)),
            // many programs write progress messages to stderr
            read_lines(stderr, |line| wrote_to_stderr.set(take(line) || wrote_to_stderr.get())),
        );
    });
    let mut output_ended = false;
    let status = tokio::select! {
        biased;
        signal = run.interrupt.wait() => Err(signal),
        status = async {
            tokio::select! {
                status = child.wait() => return status,
                () = &mut output => output_ended = true,
            }
            child.wait().await
        } => status.map_err(|cause| Error::new(Kind::Io, "cannot wait for the process").because(cause)),
    };
    if status.is_err() {
        group.end(&mut child).await;
    }
    if !output_ended {
        // after the timeout, ignore the output of background processes
        let _ = tokio::time::timeout(OUTPUT_TIMEOUT, &mut output).await;
    }
    group.kill();
    let status = status?;
    use std::os::unix::process::ExitStatusExt as _;
    let exit_code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    Ok(ProcessResult { exit_code, vars: vars.take(), wrote_to_stderr: wrote_to_stderr.get() })
}

/// A process group.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw))
    }

    /// Sends SIGTERM, waits up to [`GRACE_PERIOD`], then sends SIGKILL.
    async fn end(&self, child: &mut Child) {
        self.send(Signal::SIGTERM);
        let group_exited = async {
            let _ = child.wait().await;
            // the shell exits first and does not wait for the other processes
            while self.0.is_some_and(|group| killpg(group, None).is_ok()) {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        };
        let _ = tokio::time::timeout(GRACE_PERIOD, group_exited).await;
        self.kill();
        let _ = child.wait().await;
    }

    fn kill(&self) {
        self.send(Signal::SIGKILL);
    }

    fn send(&self, signal: Signal) {
        // ignore the error if the group no longer exists
        let _ = self.0.map(|group| killpg(group, signal));
    }
}

async fn read_lines(stream: Option<impl AsyncRead + Unpin>, mut take: impl FnMut(&str)) {
    use tokio::io::AsyncReadExt as _;
    let Some(stream) = stream else { return };
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader).take(LINE_LIMIT_BYTES).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => take(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r'])),
        }
    }
}
