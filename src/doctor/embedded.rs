//! Checks whether the embedded server is running and, if not, whether it can be started.

use nix::unistd::{AccessFlags, access};

use super::{Findings, disk};
use crate::database::settings::Settings;
use crate::error::{Error, Result};
use crate::provision::account::Account;
use crate::provision::home::Home;
use crate::provision::{Provisioner, ServerState, cluster};

const NAME: &str = "embedded server";

/// Checks the embedded server. Returns how to connect to it if it is running.
pub(crate) async fn check(provisioner: &Provisioner, findings: &mut Findings) -> Option<Settings> {
    match check_state(provisioner, findings).await {
        Ok(running) => running,
        Err(error) => {
            findings.fail(NAME, &error, "run 'taxi status', and read the server's log");
            None
        }
    }
}

async fn check_state(provisioner: &Provisioner, findings: &mut Findings) -> Result<Option<Settings>> {
    let status = provisioner.status().await?;
    let home = Home::resolve(provisioner.home.as_deref())?;
    if let (ServerState::Running, Some(url)) = (status.state, &status.database_url) {
        findings.ok(NAME, format!("running, with its data in {}", status.data_dir.display()));
        return Settings::parse(&format!("{}?sslmode=disable", url.expose())).map(Some);
    }
    disk::check(&status.data_dir, findings);
    let account = Account::for_server(&home.data())?;
    if let Account::Other { name, .. } = &account {
        findings.ok("account", format!("the server runs as the user {name}, not as root"));
    }
    if let Some(existing) = home.path().ancestors().find(|path| path.exists()) {
        access(existing, AccessFlags::W_OK | AccessFlags::X_OK).map_err(|cause| {
            Error::file("write to", existing, cause.into())
                .hint("set TAXI_HOME to a directory that this user can write to")
        })?;
        home.check_passable(&account)?;
    }
    let major = cluster::major_version(&home)?;
    match provisioner.installed(major)? {
        Some(binaries) => findings.ok("server programs", format!("PostgreSQL {}", binaries.major)),
        None if major.is_some_and(|major| major != crate::provision::download::MAJOR) => {
            return Err(cluster::other_major(&home, major.unwrap_or_default(), &provisioner.binaries));
        }
        None => findings.warn(
            "server programs",
            "PostgreSQL is not installed: the first load downloads a pinned build",
            "install PostgreSQL 15 or later, or set --database-url to use your own database",
        ),
    }
    match status.state {
        ServerState::Absent => {
            let message = format!("not created yet: the first load creates it in {}", home.path().display());
            findings.ok(NAME, message);
        }
        ServerState::Starting => {
            findings.warn(NAME, "starting", "run the command again later; a load waits for the server");
        }
        ServerState::Stopped | ServerState::Running => {
            findings.ok(
                NAME,
                format!("stopped: the next load starts it, with its data in {}", status.data_dir.display()),
            );
        }
    }
    Ok(None)
}
