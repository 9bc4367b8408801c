//! Runs `pg_upgrade` as the server's account, and says why it failed.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::{Upgrade, recovery};
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;
use crate::provision::cluster;
use crate::provision::server::{self, SOCKET_DIRECTORY_LIMIT_BYTES};

/// How many lines of the reason an error shows.
const REASON_LINES: usize = 12;
/// A server needs at least one segment of its log of changes (WAL).
const FULL_DISK_BYTES: u64 = 16 << 20;

impl Upgrade {
    /// Checks whether the upgrade is possible, or upgrades. Only this process, `pg_upgrade` and its servers use the
    /// data meanwhile: they hold the server's lock.
    pub(super) async fn run_pg_upgrade(&self, check: bool, interrupt: &Interrupt) -> Result<()> {
        let program = self.new.program("pg_upgrade");
        let failed = |cause| Error::file("run", &program, cause);
        let lock = server::try_lock(&self.home)?.ok_or_else(|| {
            Error::new(Kind::LockHeld, format!("another process uses {}", self.home.data().display()))
        })?;
        let passwords = self.write_password_file()?;
        let run = self.beside.run();
        let sockets = self.socket_directory(&run)?;
        let mut command = self.account.command(&program, &run);
        command.arg("--old-bindir").arg(&self.old.dir).arg("--new-bindir").arg(&self.new.dir);
        command.arg("--old-datadir").arg(self.home.data()).arg("--new-datadir").arg(self.beside.data());
        command.arg("--socketdir").arg(sockets.path(&run)).args(["--username", &self.connection.user]);
        command.args(check.then_some("--check")).env("PGPASSFILE", &passwords);
        // its servers get another standard input: they inherit the lock as an open file
        fcntl(&lock, FcntlArg::F_SETFD(FdFlag::empty())).map_err(|cause| failed(cause.into()))?;
        command.stdin(lock).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let child = command.spawn().map_err(failed)?;
        drop(command);
        let group = Pid::from_raw(child.id().cast_signed());
        std::fs::write(recovery::pid_file(&self.beside), group.to_string()).map_err(failed)?;
        let waiting = tokio::task::spawn_blocking(move || child.wait_with_output());
        let output = interrupt.or(async { Ok(waiting.await) }).await.inspect_err(|_signal| {
            // the group may have ended in the meantime
            _ = killpg(group, Signal::SIGKILL);
        })?;
        let output = output
            .map_err(|cause| Error::new(Kind::Internal, "cannot wait for pg_upgrade").because(cause))?
            .map_err(failed)?;
        if output.status.success() { Ok(()) } else { Err(self.explain(check, &output)) }
    }

    /// The file with the server's password, which only the server's account can read.
    fn write_password_file(&self) -> Result<PathBuf> {
        let path = self.beside.path().join("pgpass");
        let failed = |cause| Error::file("write", &path, cause);
        if !path.exists() {
            let escape = |text: &str| text.replace('\\', "\\\\").replace(':', "\\:");
            let (user, password) = (escape(&self.connection.user), escape(&self.connection.password));
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
            writeln!(file, "*:*:*:{user}:{password}").map_err(failed)?;
            self.account.own(&path)?;
        }
        Ok(path)
    }

    /// Where the servers of `pg_upgrade` have their sockets: in the new server's directory, unless its path is too
    /// long for a socket.
    fn socket_directory(&self, run: &Path) -> Result<Sockets> {
        if run.as_os_str().len() <= SOCKET_DIRECTORY_LIMIT_BYTES {
            return Ok(Sockets(None));
        }
        let short = tempfile::Builder::new().prefix("taxi").tempdir_in("/tmp");
        let short = short.map_err(|cause| Error::file("create a directory in", Path::new("/tmp"), cause))?;
        self.account.own(short.path())?;
        Ok(Sockets(Some(short)))
    }

    /// The error for a failed `pg_upgrade`, with the lists that it has written. Its logs are kept in the server's
    /// log directory.
    fn explain(&self, check: bool, output: &Output) -> Error {
        let written = self.beside.data().join("pg_upgrade_output.d");
        let kept = self.home.log().with_file_name("pg_upgrade");
        let text = [output.stdout.as_slice(), &output.stderr].concat();
        let mut text = String::from_utf8_lossy(&text).into_owned();
        lists_in(&written).iter().for_each(|list| text.push_str(list));
        let lines: Vec<&str> = text
            .lines()
            .map(str::trim_end)
            .filter(|line| !line.is_empty() && !line.ends_with(" ok") && !line.starts_with("---"))
            .collect();
        let reason = lines[lines.len().saturating_sub(REASON_LINES)..].join("\n  ");
        let what = if check { "pg_upgrade --check" } else { "pg_upgrade" };
        // a program may be unable to say so: its log is on the same disk
        let is_full = super::free_space(self.home.path()).is_ok_and(|free| free < FULL_DISK_BYTES);
        let (kind, full) = match is_full {
            true => (Kind::Io, ", and the disk is full"),
            false => (cluster::kind_of(&text), ""),
        };
        let error = Error::new(kind, format!("{what} failed ({}){full}", output.status));
        // the logs of an earlier failure are replaced
        _ = std::fs::remove_dir_all(&kept);
        match std::fs::rename(&written, &kept) {
            Ok(()) => {
                let reason = reason.replace(&*written.to_string_lossy(), &kept.to_string_lossy());
                error.because(reason).hint(format!("read the logs of pg_upgrade in {}", kept.display()))
            }
            Err(_) => error.because(reason),
        }
    }
}

/// The directory for sockets: a temporary one, or else the new server's.
struct Sockets(Option<tempfile::TempDir>);

impl Sockets {
    fn path<'a>(&'a self, run: &'a Path) -> &'a Path {
        self.0.as_ref().map_or(run, tempfile::TempDir::path)
    }
}

/// The texts of the lists in which `pg_upgrade` names what it cannot upgrade.
fn lists_in(directory: &Path) -> Vec<String> {
    let runs = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let files = runs.filter_map(|run| std::fs::read_dir(run.path()).ok()).flatten().flatten();
    let lists = files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|end| end == "txt"));
    lists.filter_map(|path| std::fs::read_to_string(path).ok()).collect()
}
