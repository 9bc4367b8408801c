//! The server's process: starts, finds and stops it.
//!
//! The server runs until `taxi down`; `pg_ctl` detaches it from the terminal. Ready means that a query succeeded.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::account::Account;
use super::binaries::Binaries;
use super::cluster;
use super::connection::{Credentials, free_port};
use super::home::Home;
use crate::database::identifier::quote;
use crate::database::settings::Settings;
use crate::database::statement::{render, sql};
use crate::database::{failure, session};
use crate::error::{Error, Kind, Result};
use crate::report::Report;

/// Crash recovery of a large load may take minutes. If the server fails to start, the wait ends immediately.
const START_TIMEOUT: Duration = Duration::from_secs(600);
const STOP_TIMEOUT: Duration = Duration::from_secs(120);
/// How long the processes of a killed server may take to exit.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause before a start after a crash is tried again.
const RECOVERY_PAUSE: Duration = Duration::from_secs(1);
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Operating systems limit the length of a socket's path (108 bytes, 104 on macOS). If the directory is longer
/// than this, the server has no socket.
pub(crate) const SOCKET_DIRECTORY_LIMIT_BYTES: usize = 80;

/// The server of a home directory.
pub(crate) struct Server<'a> {
    /// The server's home directory.
    pub(crate) home: &'a Home,
    /// The account that runs the server.
    pub(crate) account: &'a Account,
    /// The server's programs.
    pub(crate) binaries: &'a Binaries,
}

impl Server<'_> {
    /// Starts the server unless it is running, and waits until it answers. Returns whether this call started it.
    ///
    /// The port changes if another program uses it.
    pub(crate) async fn start(&self, connection: &mut Credentials, report: &dyn Report) -> Result<bool> {
        let data = self.home.data();
        if postmaster(&data).is_some() {
            match create_database(connection, &data).await {
                // a server that was just killed still has its process
                Err(error) if error.kind() == Kind::Unreachable && postmaster(&data).is_none() => {}
                created => return created.map(|()| false),
            }
        }
        let Some(lock) = self.take_lock(connection).await? else { return Ok(false) };
        self.choose_port(connection, report)?;
        self.write_settings(connection)?;
        let has_crashed = self.remove_stale_locks(connection)?;
        let failed = |cause: std::io::Error| Error::file("keep the lock", &self.home.server_lock(), cause);
        let held = lock.try_clone().map_err(failed)?;
        match self.run_pg_ctl(held).await {
            // the recovery from a crash can fail once: with files of unlogged tables, or with memory that the
            // processes of the crashed server have not released yet
            Err(first) if has_crashed && postmaster(&data).is_none() => {
                tokio::time::sleep(RECOVERY_PAUSE).await;
                self.run_pg_ctl(lock).await.map_err(|_| first)?;
            }
            started => started?,
        }
        create_database(connection, &data).await?;
        Ok(true)
    }

    /// Takes the lock that a server holds while it lives, also where its process cannot be seen: in another
    /// container or namespace of this machine. Waits for the processes of a killed server to exit. Returns `None`
    /// if the server is running and answers.
    async fn take_lock(&self, connection: &Credentials) -> Result<Option<File>> {
        let deadline = Instant::now() + RELEASE_TIMEOUT;
        loop {
            if let Some(lock) = try_lock(self.home)? {
                return Ok(Some(lock));
            }
            if version(connection).await.is_ok() {
                return Ok(None);
            }
            if Instant::now() > deadline {
                return Err(Error::new(
                    Kind::LockHeld,
                    format!(
                        "the server in {} is in use by processes that taxi cannot see or reach",
                        self.home.data().display()
                    ),
                )
                .hint(
                    "it may run in another container: stop it there, or set TAXI_HOME to another directory",
                ));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Keeps the port, or switches to a free one if another program uses it.
    fn choose_port(&self, connection: &mut Credentials, report: &dyn Report) -> Result<()> {
        if TcpListener::bind((Ipv4Addr::LOCALHOST, connection.port)).is_err() {
            let old_port = connection.port;
            connection.port = free_port()?;
            connection.save(self.home)?;
            report
                .notice(&format!("port {old_port} is in use; the server now uses port {}", connection.port));
        }
        Ok(())
    }

    /// Writes the server's configuration file.
    pub(crate) fn write_settings(&self, connection: &Credentials) -> Result<()> {
        let run = self.home.run();
        let run = run.to_string_lossy();
        let socket_directory = if run.len() > SOCKET_DIRECTORY_LIMIT_BYTES { "" } else { &run };
        let settings = include_str!("server.conf")
            .replace("{port}", &connection.port.to_string())
            .replace("{socket_directory}", &socket_directory.replace('\'', "''"));
        let path = self.home.settings();
        let failed = |cause| Error::file("write", &path, cause);
        std::fs::write(&path, settings).map_err(failed)?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).map_err(failed)?;
        self.account.share(&path)
    }

    /// Removes the pid file and the socket lock that a killed server leaves behind. The next server refuses to
    /// start if their pid belongs to any running process. Returns whether there were any.
    fn remove_stale_locks(&self, connection: &Credentials) -> Result<bool> {
        let socket_lock = self.home.run().join(format!(".s.PGSQL.{}.lock", connection.port));
        let mut found_some = false;
        for path in [self.home.data().join("postmaster.pid"), socket_lock] {
            match std::fs::remove_file(&path) {
                Ok(()) => found_some = true,
                Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {}
                Err(cause) => return Err(Error::file("remove", &path, cause)),
            }
        }
        Ok(found_some)
    }

    /// Starts the server, which inherits `lock`: a clone of it stays open until the server has it.
    async fn run_pg_ctl(&self, lock: File) -> Result<()> {
        let (data, log) = (self.home.data(), self.home.log());
        let program = self.binaries.program("pg_ctl");
        let log_length = std::fs::metadata(&log).map_or(0, |metadata| metadata.len());
        let mut start = self.account.command(&program, &data);
        start.args(["start", "--wait", "--silent", "--pgdata"]).arg(&data).arg("--log").arg(&log);
        start.args(["--timeout", &START_TIMEOUT.as_secs().to_string()]);
        // pg_ctl gives the server another standard input; the command keeps the file open until it is run
        fcntl(&lock, FcntlArg::F_SETFD(FdFlag::empty()))
            .map_err(|cause| Error::file("keep the lock", &self.home.server_lock(), cause.into()))?;
        start.stdin(lock);
        let output = cluster::output(start, &program).await?;
        if output.status.success() {
            return Ok(());
        }
        let log_text = read_from(&log, log_length);
        let reason = match log_text.is_empty() {
            true => String::from_utf8_lossy(&output.stderr).into_owned(),
            false => log_text,
        };
        let text = format!("cannot start the server in {}", data.display());
        Err(Error::new(cluster::kind_of(&reason), text)
            .because(reason.trim().to_owned())
            .hint(format!("read the server's log: {}", log.display())))
    }
}

/// Whether a server holds the lock. Changes nothing: the file is neither created nor locked exclusively.
pub(crate) fn is_locked(home: &Home) -> bool {
    File::open(home.server_lock())
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Takes the lock that a server holds while it lives. Returns `None` if another process holds it.
pub(crate) fn try_lock(home: &Home) -> Result<Option<File>> {
    let path = home.server_lock();
    let failed = |cause| Error::file("lock", &path, cause);
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(cause)) => Err(failed(cause)),
    }
}

/// The process of the server that runs on `data`, if there is one.
///
/// A pid file outlives a killed server, and its pid may later belong to another process. So this function also
/// checks the process's working directory, which is the data directory for a server.
pub(crate) fn postmaster(data: &Path) -> Option<Pid> {
    let text = std::fs::read_to_string(data.join("postmaster.pid")).ok()?;
    let number: i32 = text.lines().next()?.trim().parse().ok()?;
    // zero and negative numbers mean process groups, or a server in single-user mode
    let pid = (number > 0).then(|| Pid::from_raw(number))?;
    works_in(pid, data).then_some(pid)
}

/// Whether a process exists and has this working directory.
pub(crate) fn works_in(pid: Pid, directory: &Path) -> bool {
    // a process that this user may not signal is not one of ours
    if kill(pid, None).is_err() {
        return false;
    }
    match std::fs::read_link(format!("/proc/{pid}/cwd")) {
        Ok(current) => Some(current) == directory.canonicalize().ok(),
        // in a container, root may not follow the link of another user's process; the command line contains the
        // directory too
        Err(_) if Path::new("/proc/self/cwd").exists() => {
            let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            directory.to_str().is_some_and(|directory| String::from_utf8_lossy(&command).contains(directory))
        }
        // the same without /proc, as on macOS
        Err(_) => {
            let output = Command::new("ps").args(["-ww", "-o", "command=", "-p", &pid.to_string()]).output();
            let command = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
            std::iter::zip(command, directory.to_str()).any(|(command, path)| command.contains(path))
        }
    }
}

/// Stops the server in `home`: sessions end, and their transactions roll back. Does nothing if none is running.
pub(crate) async fn stop(home: &Home) -> Result<()> {
    let data = &home.data();
    let Some(pid) = postmaster(data) else {
        if is_locked(home) {
            let text = format!("cannot see the process of the server in {}", data.display());
            return Err(Error::new(Kind::Configuration, text)
                .hint("it may run in another container: run 'taxi down' there"));
        }
        return Ok(());
    };
    kill(pid, Signal::SIGINT).map_err(|cause| Error::file("stop the server in", data, cause.into()))?;
    let deadline = Instant::now() + STOP_TIMEOUT;
    let stopped_by = Instant::now() + RELEASE_TIMEOUT;
    // the pid file goes before the process does
    while postmaster(data).is_some() || is_locked(home) && Instant::now() < stopped_by {
        if Instant::now() > deadline {
            return Err(Error::new(
                Kind::Unreachable,
                format!("the server in {} (pid {pid}) did not stop within {STOP_TIMEOUT:?}", data.display()),
            ));
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    Ok(())
}

/// Creates the database if it does not exist. Waits for a server that another process has started.
async fn create_database(connection: &Credentials, data: &Path) -> Result<()> {
    let maintenance = Settings::parse(connection.url_of("postgres").expose())?;
    let deadline = Instant::now() + START_TIMEOUT;
    let client = loop {
        match session::connect_again(&maintenance).await {
            Ok(client) => break client,
            Err(error) if error.kind() != Kind::Unreachable || Instant::now() > deadline => {
                return Err(error);
            }
            Err(error) if postmaster(data).is_none() => return Err(error),
            Err(_starting) => tokio::time::sleep(POLL_INTERVAL).await,
        }
    };
    let failed =
        |cause| failure::statement(format!("cannot create the database {}", connection.database), cause);
    let row = client.query_one(sql!("database_exists.sql"), &[&connection.database]).await.map_err(failed)?;
    if !row.get::<_, bool>(0) {
        let database = quote(&connection.database);
        let create = render!("create_database.sql", &minijinja::context! { database })?;
        client.batch_execute(&create).await.map_err(failed)?;
    }
    Ok(())
}

/// Asks the server for its version.
pub(crate) async fn version(connection: &Credentials) -> Result<String> {
    let client = session::connect_again(&Settings::parse(connection.url().expose())?).await?;
    let row = client.query_one(sql!("server_version.sql"), &[]).await;
    let row = row.map_err(|cause| failure::statement("cannot query the server's version", cause))?;
    let version: String = row.get(0);
    Ok(version.split_whitespace().next().unwrap_or_default().to_owned())
}

/// The contents of a file from `offset` on.
fn read_from(path: &Path, offset: u64) -> String {
    let mut text = Vec::new();
    if let Ok(mut file) = File::open(path)
        && file.seek(SeekFrom::Start(offset)).is_ok()
    {
        // if reading fails, use what was read
        let _ = file.read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}
