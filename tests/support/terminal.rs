//! A terminal that the program draws on, and what it shows.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const ROWS: u16 = 60;
const SETSID: &str = "/usr/bin/setsid";

/// A program that runs on a terminal.
pub(crate) struct Terminal {
    child: Child,
    terminal: File,
    parser: vt100::Parser,
}

impl Terminal {
    /// Starts taxi on a terminal of this width. Its stdout and its stderr are the terminal, if `None`.
    pub(crate) fn spawn(taxi: &Command, columns: u16, streams: [Option<Stdio>; 2]) -> Self {
        let size = Winsize { ws_row: ROWS, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).unwrap();
        let slave = |pty: &OwnedFd| Stdio::from(pty.try_clone().unwrap());
        // the terminal sends a signal only to the session that it controls
        let mut command = match Path::new(SETSID).exists() {
            true => Command::new(SETSID),
            false => Command::new("env"),
        };
        command
            .args(Path::new(SETSID).exists().then_some("--ctty"))
            .arg(taxi.get_program())
            .args(taxi.get_args());
        for (name, value) in taxi.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let [stdout, stderr] = streams.map(|stream| stream.unwrap_or_else(|| slave(&pty.slave)));
        command.stdout(stdout).stderr(stderr);
        if command.get_envs().all(|(name, _)| name != "TERM") {
            command.env("TERM", "xterm");
        }
        let child = command.stdin(slave(&pty.slave)).spawn().unwrap();
        let parser = vt100::Parser::new(ROWS.try_into().unwrap(), columns.try_into().unwrap(), 1000);
        Self { child, terminal: File::from(pty.master), parser }
    }

    /// Reads what the program writes, and shows the screen after each whole frame or line to `look`, until it says that
    /// it has seen enough or the program ends. Panics after 40 seconds.
    pub(crate) fn watch(&mut self, mut look: impl FnMut(&[String]) -> bool) {
        let mut buffer = [0; 1 << 16];
        let deadline = Instant::now() + Duration::from_secs(40);
        loop {
            assert!(Instant::now() < deadline, "timed out:\n{}", self.rows().join("\n"));
            match self.terminal.read(&mut buffer) {
                // the other end is closed
                Ok(0) | Err(_) => return,
                Ok(length) => {
                    self.parser.process(&buffer[..length]);
                    let is_whole = matches!(buffer[length - 1], b'\r' | b'\n');
                    if is_whole && look(&self.rows()) {
                        return;
                    }
                }
            }
        }
    }

    /// Types a line.
    pub(crate) fn type_line(&mut self, line: &str) {
        self.terminal.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Presses Ctrl-C: the terminal echoes the key, discards what it has not shown yet, and sends the signal. Without
    /// setsid(1), only the signal is sent.
    pub(crate) fn press_ctrl_c(&mut self) {
        match Path::new(SETSID).exists() {
            true => self.terminal.write_all(b"\x03").unwrap(),
            false => self.interrupt(),
        }
    }

    /// Sends the signal of Ctrl-C without the key, so that the terminal discards nothing.
    pub(crate) fn interrupt(&self) {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGINT).unwrap();
    }

    /// The rows of the screen, without the empty rows at the end.
    pub(crate) fn rows(&self) -> Vec<String> {
        let screen = self.parser.screen();
        let columns = screen.size().1.get();
        let mut rows: Vec<String> = screen.rows(0, columns).map(|row| row.trim_end().to_owned()).collect();
        rows.truncate(rows.iter().rposition(|row| !row.is_empty()).map_or(0, |last| last + 1));
        rows
    }

    /// Waits for the end of the program. Returns its status and the rows of the screen.
    pub(crate) fn finish(mut self) -> (ExitStatus, Vec<String>) {
        self.watch(|_| false);
        let status = self.child.wait().unwrap();
        let rows = self.rows();
        (status, rows)
    }
}
