//! The server's data directory: created once, then kept.

use std::fs::{OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Output};

use super::account::Account;
use super::binaries::{Binaries, Choice, Places};
use super::connection::Credentials;
use super::home::Home;
use crate::error::{Error, Kind, Result};

/// The major version of the PostgreSQL that created the data directory; `None` if there is no data directory.
pub(crate) fn major_version(home: &Home) -> Result<Option<u32>> {
    let data = home.data();
    let path = data.join("PG_VERSION");
    match std::fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map(Some).map_err(|_| {
            Error::new(Kind::Configuration, format!("{} does not contain a major version", path.display()))
        }),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
            if data.is_dir() {
                let text = format!("{} exists but is not a data directory of PostgreSQL", data.display());
                return Err(Error::new(Kind::Configuration, text)
                    .hint("move the directory away, or set TAXI_HOME to another directory"));
            }
            Ok(None)
        }
        Err(cause) => Err(Error::file("read", &path, cause)),
    }
}

/// The error for a data directory that none of the available binaries can run. The directory holds the user's
/// data, so taxi does not change it.
pub(crate) fn other_major(home: &Home, major: u32, choice: &Choice) -> Error {
    let data = home.data();
    let reason = match choice {
        Choice::Directory(dir) => format!("the server in {} has another version", dir.display()),
        Choice::Search => format!("PostgreSQL {major} is not installed"),
        Choice::Download => "the build to download has another version".to_owned(),
    };
    let text = format!("the data directory {} was created by PostgreSQL {major}; {reason}", data.display());
    let newer = match choice {
        Choice::Directory(dir) => Binaries::inspect(dir).ok().map(|found| found.major),
        Choice::Search => Places::of_this_machine().newest(|found| found > major).map(|found| found.major),
        Choice::Download => None,
    };
    let upgrade = match newer.filter(|newer| *newer > major) {
        Some(newer) => format!("use 'taxi upgrade' to move the data to PostgreSQL {newer}"),
        None => "use 'taxi upgrade' to move the data to a newer version".to_owned(),
    };
    Error::new(Kind::Configuration, text).hint(format!(
        "install PostgreSQL {major} again and set TAXI_POSTGRES_BIN to its bin directory; with both versions installed, \
         {upgrade}; or set TAXI_HOME to a new directory"
    ))
}

/// The programs that last ran the data directory, according to the server's own notes.
pub(crate) fn last_programs(home: &Home) -> Option<Binaries> {
    let options = std::fs::read_to_string(home.data().join("postmaster.opts")).ok()?;
    let (program, _) = options.split_once(" \"")?;
    Binaries::inspect(Path::new(program).parent()?).ok()
}

/// Creates the data directory, completely or not at all. `settings` are further arguments of `initdb`.
pub(crate) async fn create(
    home: &Home,
    account: &Account,
    binaries: &Binaries,
    connection: &Credentials,
    settings: &[String],
) -> Result<()> {
    let unfinished = home.unfinished_data();
    if unfinished.exists() {
        // left behind by an interrupted creation; no server has used it yet
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
    initdb.args(settings);
    let created = output(initdb, &binaries.program("initdb")).await?;
    std::fs::remove_file(&password).map_err(|cause| Error::file("remove", &password, cause))?;
    check("initdb failed", &unfinished, &created)?;
    // the account itself appends the line: root must not follow a link that another user may have created
    let mut include = account.command(Path::new("/bin/sh"), &unfinished);
    include.args(["-c", "echo \"include '../server.conf'\" >> postgresql.conf"]);
    let written = output(include, Path::new("/bin/sh")).await?;
    check("cannot write postgresql.conf", &unfinished, &written)?;
    let data = home.data();
    std::fs::rename(&unfinished, &data).map_err(|cause| Error::file("create", &data, cause))
}

/// Runs a program and returns its output and exit status. It runs on a separate thread, so that taxi
/// can handle signals in the meantime.
pub(crate) async fn output(mut command: Command, program: &Path) -> Result<Output> {
    tokio::task::spawn_blocking(move || command.output())
        .await
        .map_err(|cause| Error::new(Kind::Internal, "cannot wait for a program").because(cause))?
        .map_err(|cause| Error::file("run", program, cause))
}

/// Writes the password file for `initdb`, readable only by the owner and the server's account.
fn write_password(path: &Path, account: &Account, connection: &Credentials) -> Result<()> {
    let failed = |cause| Error::file("write", path, cause);
    if path.exists() {
        // left behind by an interrupted creation
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
pub(crate) fn check(what: &str, path: &Path, output: &Output) -> Result<()> {
    if output.status.success() {
        return Ok(());
    }
    let text =
        String::from_utf8_lossy(if output.stderr.is_empty() { &output.stdout } else { &output.stderr });
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines[lines.len().saturating_sub(3)..].join("; ");
    Err(Error::new(kind_of(&last), format!("{what} in {} ({})", path.display(), output.status)).because(last))
}

/// The error kind for a server program's message: [`Kind::Io`] if the disk is full, else [`Kind::Configuration`].
pub(crate) fn kind_of(message: &str) -> Kind {
    if message.contains("No space left") { Kind::Io } else { Kind::Configuration }
}
