//! The end of an upgrade, whether it was verified, failed, or was interrupted at any instant.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::sync_directory;
use crate::error::{Error, Kind, Result};
use crate::provision::home::Home;
use crate::provision::{cluster, server};
use crate::report::Report;

/// How long the processes of an interrupted upgrade may take to end.
const END_TIMEOUT: Duration = Duration::from_secs(120);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Whether an upgrade is in progress or was interrupted.
pub(crate) fn is_interrupted(home: &Home) -> bool {
    home.upgrade().path().exists()
}

/// The file that exists once the new data directory in the home `beside` is verified.
fn marker(beside: &Home) -> PathBuf {
    beside.path().join("verified")
}

/// The file with the process group of `pg_upgrade`.
pub(super) fn pid_file(beside: &Home) -> PathBuf {
    beside.path().join("pg_upgrade.pid")
}

/// Records that the new data directory is complete: from now on, the upgrade is completed, not undone.
pub(super) fn mark_verified(beside: &Home) -> Result<()> {
    let path = marker(beside);
    let written = std::fs::write(&path, "").map_err(|cause| Error::file("write", &path, cause));
    written.and_then(|()| sync_directory(beside.path()))
}

/// Ends what an upgrade has left behind: ends its processes, and completes a verified upgrade or removes any other.
/// The caller holds the home's lock, so no upgrade is in progress.
pub(crate) async fn recover(home: &Home, report: &dyn Report) -> Result<()> {
    let beside = home.upgrade();
    if !beside.path().exists() {
        return Ok(());
    }
    end_processes(home, &beside).await?;
    if marker(&beside).exists() {
        complete(home, &beside)?;
    } else {
        report.notice("removing the new data directory of an upgrade that did not succeed");
    }
    std::fs::remove_dir_all(beside.path()).map_err(|cause| Error::file("remove", beside.path(), cause))
}

/// Keeps the old data directory under another name, and moves the new one to its place. May be run again after an
/// interruption at any instant.
fn complete(home: &Home, beside: &Home) -> Result<()> {
    let (data, new) = (home.data(), beside.data());
    if !new.exists() {
        return Ok(());
    }
    if let Some(old) = cluster::major_version(home)? {
        let kept = home.kept_data(old);
        std::fs::rename(&data, &kept).map_err(|cause| Error::file("rename", &data, cause))?;
    }
    std::fs::rename(&new, &data).map_err(|cause| Error::file("rename", &new, cause))?;
    sync_directory(home.path())
}

/// Ends `pg_upgrade` and its servers. They hold a lock, so they are found even before their files exist.
async fn end_processes(home: &Home, beside: &Home) -> Result<()> {
    let deadline = Instant::now() + END_TIMEOUT;
    loop {
        let group = process_group(beside);
        // a group that has just ended is no error
        group.iter().for_each(|group| _ = killpg(*group, Signal::SIGKILL));
        let servers = [home, beside].map(|home| server::postmaster(&home.data()));
        servers.iter().flatten().for_each(|server| _ = kill(*server, Signal::SIGINT));
        let is_locked = server::is_locked(home) || server::is_locked(beside);
        if group.is_none() && servers == [None, None] && !is_locked {
            return Ok(());
        }
        if Instant::now() > deadline {
            let text = format!("the processes of an upgrade still use {}", home.path().display());
            return Err(Error::new(Kind::LockHeld, text)
                .hint("end them, or wait until they have ended; the old data directory is unchanged"));
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// The process group of `pg_upgrade`, if it exists: it works in the new server's directory.
fn process_group(beside: &Home) -> Option<Pid> {
    let number = std::fs::read_to_string(pid_file(beside)).ok()?.trim().parse().ok()?;
    let pid = Pid::from_raw(number);
    server::works_in(pid, &beside.run()).then_some(pid)
}
