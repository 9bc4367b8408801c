//! `taxi psql`: runs the psql client that comes with the embedded server, connected to that server.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use crate::database::libpq;
use crate::error::{Error, Kind, Result};
use crate::provision::Provisioner;
use crate::provision::binaries::Binaries;
use crate::report::Report;
use crate::report::output::CommandOutput;

/// Starts the server if it is not running, then replaces this process with psql.
pub(crate) async fn run(
    args: &[OsString],
    provisioner: &Provisioner,
    report: &dyn Report,
) -> Result<CommandOutput> {
    let up = provisioner.up(report).await?;
    let psql = find(&up.binaries).ok_or_else(|| {
        let text = format!("cannot find psql in {} or on the search path", up.binaries.dir.display());
        Error::new(Kind::Configuration, text)
            .hint("install the PostgreSQL client, or connect with the URL that 'taxi status' prints")
    })?;
    // pass the connection in the environment: every user of the machine can read a process's arguments
    let mut command = Command::new(&psql);
    libpq::inherited().for_each(|name| _ = command.env_remove(name));
    let cause = command
        .args(args)
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", up.connection.port.to_string())
        .env("PGUSER", &up.connection.user)
        .env("PGPASSWORD", &up.connection.password)
        .env("PGDATABASE", &up.connection.database)
        .exec();
    Err(Error::file("run", &psql, cause))
}

fn find(binaries: &Binaries) -> Option<PathBuf> {
    let search_path = std::env::var_os("PATH").unwrap_or_default();
    std::iter::once(binaries.dir.clone())
        .chain(std::env::split_paths(&search_path))
        .map(|dir| dir.join("psql"))
        .find(|path| path.is_file())
}
