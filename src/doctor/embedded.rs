//! Checks whether the embedded server is running and, if not, whether it can be started.

use std::path::Path;

use nix::unistd::{AccessFlags, access};

use super::{Findings, disk};
use crate::database::settings::Settings;
use crate::error::{Error, Kind, Result};
use crate::provision::account::Account;
use crate::provision::binaries::{Binaries, Choice, REQUIRED_PROGRAMS};
use crate::provision::download::{self, Archive};
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
    if major.is_none() {
        account.check_entry()?;
    }
    check_programs(provisioner, &home, &account, major, findings).await?;
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

/// Checks the programs that the next start uses: those that are installed, else the pinned build.
async fn check_programs(
    provisioner: &Provisioner,
    home: &Home,
    account: &Account,
    major: Option<u32>,
    findings: &mut Findings,
) -> Result<()> {
    const NAME: &str = "server programs";
    if let Some(binaries) = provisioner.installed(major)? {
        return check_runnable(&binaries, account, findings);
    }
    let other_major = major.filter(|major| *major != download::MAJOR);
    if let Some(major) =
        other_major.or(major.filter(|_| matches!(provisioner.binaries, Choice::Directory(_))))
    {
        return Err(cluster::other_major(home, major, &provisioner.binaries));
    }
    let archive = Archive::pinned(&provisioner.mirror)?;
    if let Some(binaries) = archive.installed(&home.cache())? {
        return check_runnable(&binaries, account, findings);
    }
    match archive.check_published().await {
        Ok(()) => findings.warn(
            NAME,
            format!("PostgreSQL is not installed: the first load downloads {}", archive.address),
            "install PostgreSQL 15 or later, or set --database-url to use your own database",
        ),
        Err(error) => {
            findings.fail(NAME, &error, "check --postgres-mirror, or install PostgreSQL 15 or later")
        }
    }
    Ok(())
}

/// Runs each of the programs as the account that runs the server.
fn check_runnable(binaries: &Binaries, account: &Account, findings: &mut Findings) -> Result<()> {
    for name in REQUIRED_PROGRAMS {
        let program = binaries.program(name);
        let run = account.command(&program, Path::new("/")).arg("--version").output();
        let is_run = run.as_ref().is_ok_and(|output| output.status.success());
        if !is_run {
            let reason = match run {
                Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
                Err(cause) => cause.to_string(),
            };
            let text = format!("the user {} cannot run {}", account.name(), program.display());
            return Err(Error::new(Kind::Configuration, text).because(reason).hint(
                "correct the permissions or the installation, or set --postgres-bin (TAXI_POSTGRES_BIN) to another directory",
            ));
        }
    }
    findings.ok("server programs", format!("PostgreSQL {} in {}", binaries.major, binaries.dir.display()));
    Ok(())
}
