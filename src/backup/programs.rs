//! Finds pg_dump and pg_restore, and runs them. The connection reaches them in the environment only.

use std::path::PathBuf;
use std::process::Stdio;

use tokio::process::Command;

use crate::database::libpq;
use crate::database::password::MAX_AGE;
use crate::database::settings::Settings;
use crate::error::{Error, Kind, Result};
use crate::provision::binaries::Places;

/// How many lines of a program's stderr an error has.
const STDERR_LINES: usize = 20;

/// A program of PostgreSQL.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    path: PathBuf,
    /// The program's version.
    pub(crate) version: String,
    major: u32,
}

impl Program {
    /// Finds the program `name` of version `at_least` or later: the oldest one, since a newer one may write what an
    /// older server does not understand. `server_programs` is the directory of the embedded server's programs.
    pub(crate) fn find(name: &str, at_least: u32, server_programs: Option<PathBuf>) -> Result<Self> {
        let directories = server_programs.into_iter().chain(Places::of_this_machine().directories());
        let found: Vec<Self> = directories.filter_map(|dir| Self::inspect(dir.join(name))).collect();
        let newest = found.iter().map(|program| program.major).max();
        found.into_iter().filter(|program| program.major >= at_least).min_by_key(|program| program.major).ok_or_else(|| {
            let text = match newest {
                Some(major) => format!("{name} of PostgreSQL {at_least} or later is required; the newest installed one is {major}"),
                None => format!("{name} is not installed; version {at_least} or later is required"),
            };
            Error::new(Kind::Configuration, text).hint(format!(
                "install the client programs of PostgreSQL {at_least}: postgresql-client-{at_least} (Debian, Ubuntu), \
                 postgresql{at_least} (RPM), postgresql{at_least}-client (Alpine), postgresql@{at_least} (Homebrew)"
            ))
        })
    }

    fn inspect(path: PathBuf) -> Option<Self> {
        let output = std::process::Command::new(&path).arg("--version").stdin(Stdio::null()).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let version = text.split_whitespace().nth(2)?.to_owned();
        let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
        Some(Self { path, version, major: digits.parse().ok()? })
    }

    /// A command that runs the program on the database of `settings`.
    pub(crate) async fn command(&self, settings: &Settings) -> Result<Command> {
        let settings = settings.authenticated(MAX_AGE).await?;
        let mut command = Command::new(&self.path);
        libpq::inherited().for_each(|name| _ = command.env_remove(name));
        command.envs(libpq::variables(&settings)).env("LC_ALL", "C").arg("--no-password");
        command.stdin(Stdio::null()).kill_on_drop(true);
        Ok(command)
    }
}

/// Runs a command. The error has what it wrote to stderr.
pub(crate) async fn run(mut command: Command, what: &str) -> Result<()> {
    let program = PathBuf::from(command.as_std().get_program());
    let output = command.output().await.map_err(|cause| Error::file("run", &program, cause))?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let mut lines: Vec<&str> = stderr.lines().take(STDERR_LINES).collect();
    if lines.is_empty() {
        lines.push("it wrote no message");
    }
    Err(Error::new(Kind::Configuration, format!("{what}: {} failed", program.display()))
        .because(lines.join("\n")))
}
