//! The server's data directory: created once, then kept.

use std::fs::{OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Output};

use super::account::Account;
use super::binaries::{Binaries, Choice};
use super::connection::Credentials;
use super::home::Home;
use crate::error::{Error, Kind, Result};

/// The major version of the PostgreSQL that created the data directory; `None` if there is no data directory.
pub(crate) fn major_version(home: &Home) -> Result<Option<u32>> {
    let data = home.data();
    let path = data.join("PG_VERSION");
    match std::fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map(Some).map_err(|_| {
            Error::new(Kind::Configuration, format!("{} does not hold a major version", path.display()))
        }),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
            if data.is_dir() {
                let text = format!("{} exists and is no data directory of PostgreSQL", data.display());
                return Err(Error::new(Kind::Configuration, text)
                    .hint("move it away, or set TAXI_HOME to another place"));
            }
            Ok(None)
        }
        Err(cause) => Err(Error::file("read", &path, cause)),
    }
}

/// The error for a data directory that none of the available binaries can run. It holds the user's data, so
/// nothing changes it.
pub(crate) fn other_major(home: &Home, major: u32, choice: &Choice) -> Error {
    let data = home.data();
    let looked = match choice {
        Choice::Directory(dir) => format!("{} is of another", dir.display()),
        Choice::Search => "no server of that version is installed".to_owned(),
        Choice::Download => "the build to download is of another".to_owned(),
    };
    let text = format!("the data directory {} was created by PostgreSQL {major}; {looked}", data.display());
    Error::new(Kind::Configuration, text).hint(format!(
        "install PostgreSQL {major} again (TAXI_POSTGRES_BIN names its bin directory), upgrade the directory with \
         pg_upgrade, or set TAXI_HOME to a new place"
    ))
}

/// Creates the data directory, completely or not at all.
pub(crate) async fn create(
    home: &Home,
    account: &Account,
    binaries: &Binaries,
    connection: &Credentials,
) -> Result<()> {
    let unfinished = home.unfinished_data();
    if unfinished.exists() {
        // left by an interrupted creation; no server has run on it
        std::fs::remove_dir_all(&unfinished).map_err(|cause| Error::file("remove", &unfinished, cause))?;
    }
    std::fs::create_dir(&unfinished).map_err(|cause| Error::file("create", &unfinished, cause))?;
    account.own(&unfinished)?;
    let password = home.initdb_password();
    write_password(&password, account, connection)?;
    let mut initdb = account.command(&binaries.program("initdb"), &unfinished);
    initdb.arg("--pgdata").arg(&unfinished);
    initdb.arg("--pwfile").arg(&password);
    initdb.args([
        "--username",
        &connection.user,
        "--auth",
        "scram-sha-256",
        "--encoding",
        "UTF8",
        "--locale",
        "C",
    ]);
    let made = output(initdb, &binaries.program("initdb")).await?;
    std::fs::remove_file(&password).map_err(|cause| Error::file("remove", &password, cause))?;
    check("initdb failed", &unfinished, &made)?;
    // appended by the account itself: root must not write where another user could have placed a link
    let mut include = account.command(Path::new("/bin/sh"), &unfinished);
    include.args(["-c", "echo \"include '../server.conf'\" >> postgresql.conf"]);
    let written = output(include, Path::new("/bin/sh")).await?;
    check("cannot write postgresql.conf", &unfinished, &written)?;
    let data = home.data();
    std::fs::rename(&unfinished, &data).map_err(|cause| Error::file("create", &data, cause))
}

/// Runs a program and returns its output and exit status. It runs on a separate thread, so that signals are
/// handled in the meantime.
pub(crate) async fn output(mut command: Command, program: &Path) -> Result<Output> {
    tokio::task::spawn_blocking(move || command.output())
        .await
        .map_err(|cause| Error::new(Kind::Internal, "a program's task failed").because(cause))?
        .map_err(|cause| Error::file("run", program, cause))
}

/// Writes the password file for `initdb`, readable only by the owner and the server's account.
fn write_password(path: &Path, account: &Account, connection: &Credentials) -> Result<()> {
    let failed = |cause| Error::file("write", path, cause);
    if path.exists() {
        // left by an interrupted creation
        std::fs::remove_file(path).map_err(failed)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    writeln!(file, "{}", connection.password).map_err(failed)?;
    if let Account::Other { .. } = account {
        account.share(path)?;
        file.set_permissions(Permissions::from_mode(0o640)).map_err(failed)?;
    }
    Ok(())
}

/// Returns an error if a program failed, with the last three lines of its output.
fn check(what: &str, path: &Path, output: &Output) -> Result<()> {
    if output.status.success() {
        return Ok(());
    }
    let said =
        String::from_utf8_lossy(if output.stderr.is_empty() { &output.stdout } else { &output.stderr });
    let said: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = said[said.len().saturating_sub(3)..].join("; ");
    Err(Error::new(kind_of(&last), format!("{what} on {} ({})", path.display(), output.status)).because(last))
}

/// The error kind for a server program's message: [`Kind::Io`] if the disk is full, else [`Kind::Configuration`].
pub(crate) fn kind_of(said: &str) -> Kind {
    if said.contains("No space left") { Kind::Io } else { Kind::Configuration }
}
