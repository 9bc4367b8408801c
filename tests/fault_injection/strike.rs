//! The faults: what they are, and how each is made during a load.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use fastrand::Rng;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::site::{Misbehaviour, SILENCE, Site};
use crate::support::proxy::{Fault, Way};
use crate::support::wait_until;

/// What happens during a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    ClientKilled,
    ServerKilled,
    BackendKilled,
    ConnectionCut,
    CommitAnswerLost,
    DatabaseStalled,
    DatabaseSilent,
    DiskFull,
    TwoAtOnce,
    ClockJumped,
    DownloadCut,
    DownloadStalled,
    FileChanged,
    SourceUnavailable,
    FileDamaged,
}

/// Every kind, the quick ones more often than those that take a restart.
pub(crate) const KINDS: [(Kind, u32); 15] = [
    (Kind::ClientKilled, 6),
    (Kind::ServerKilled, 2),
    (Kind::BackendKilled, 2),
    (Kind::ConnectionCut, 6),
    (Kind::CommitAnswerLost, 3),
    (Kind::DatabaseStalled, 1),
    (Kind::DatabaseSilent, 1),
    (Kind::DiskFull, 1),
    (Kind::TwoAtOnce, 3),
    (Kind::ClockJumped, 1),
    (Kind::DownloadCut, 4),
    (Kind::DownloadStalled, 1),
    (Kind::FileChanged, 2),
    (Kind::SourceUnavailable, 2),
    (Kind::FileDamaged, 2),
];

/// A load's end: what it said, and whether it says that it succeeded.
pub(crate) struct Ended {
    pub(crate) said: String,
    pub(crate) succeeded: bool,
}

/// Waits for it: whatever happens, a load ends.
fn end(mut load: Child) -> Ended {
    wait_until("the load has ended", || load.try_wait().unwrap().is_some());
    let output = load.wait_with_output().unwrap();
    let result: Option<Value> = serde_json::from_slice(&output.stdout).ok();
    let status = result.map(|result| result["status"].clone()).unwrap_or_default();
    let said = format!("{:?} {status}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    Ended { said, succeeded: output.status.success() }
}

fn kill_all(processes: &[Pid]) {
    processes.iter().for_each(|process| _ = kill(*process, Signal::SIGKILL));
}

/// Makes the fault during a load; returns the ends of the loads, and how the fault is described.
pub(crate) fn strike(kind: Kind, site: &Site, rng: &mut Rng) -> (Vec<Ended>, String) {
    let spawn = |url: &str| site.load(url).spawn().unwrap();
    let behind_proxy = |fault: Fault| {
        site.proxy.arm(fault);
        let ended = end(spawn(&site.proxied_url));
        site.proxy.arm(Fault::None);
        (vec![ended], format!("{fault:?}"))
    };
    let with_source = |misbehaviour: Misbehaviour| {
        site.misbehave(misbehaviour);
        (vec![end(spawn(&site.url))], format!("{misbehaviour:?}"))
    };
    let place = rng.usize(..site.file_bytes);
    match kind {
        Kind::ClientKilled => {
            let (mut load, delay) = (spawn(&site.url), site.instant(rng));
            std::thread::sleep(delay);
            load.kill().unwrap();
            (vec![end(load)], format!("after {delay:?}"))
        }
        Kind::ServerKilled => {
            let (load, delay) = (spawn(&site.url), site.instant(rng));
            std::thread::sleep(delay);
            kill_all(&site.server.processes());
            (vec![end(load)], format!("after {delay:?}"))
        }
        Kind::BackendKilled => {
            let (load, delay) = (spawn(&site.url), site.instant(rng));
            let database = site.database();
            std::thread::sleep(delay);
            let backends =
                database.sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'taxi-etl'");
            let backends: Vec<Pid> =
                backends.iter().map(|row| Pid::from_raw(row[0].parse().unwrap())).collect();
            let chosen = rng.choice(&backends).copied();
            kill_all(chosen.as_slice());
            (vec![end(load)], format!("{chosen:?} after {delay:?}"))
        }
        Kind::ConnectionCut => {
            let (to_server, to_client, _) = site.bytes;
            behind_proxy(match rng.bool() {
                true => Fault::Cut(Way::ToServer, rng.u64(..to_server)),
                false => Fault::Cut(Way::ToClient, rng.u64(..to_client)),
            })
        }
        Kind::CommitAnswerLost => behind_proxy(Fault::LoseCommit(rng.u64(..site.bytes.2))),
        Kind::DatabaseStalled => behind_proxy(Fault::Stall(
            Way::ToServer,
            rng.u64(..site.bytes.0),
            SILENCE.mul_f64(rng.f64() * 0.6),
        )),
        Kind::DatabaseSilent => {
            // for ever, half of the time before the first row
            let places = if rng.bool() { 4000 } else { site.bytes.0 };
            behind_proxy(Fault::Stall(Way::ToServer, rng.u64(..places), Duration::from_secs(3600)))
        }
        Kind::DiskFull => {
            let ballast = site.server.path().join("ballast");
            let left = rng.u64(..30 << 20);
            fill(&ballast, left);
            let ended = end(spawn(&site.url));
            std::fs::remove_file(&ballast).unwrap();
            (vec![ended], format!("{left} bytes left"))
        }
        Kind::TwoAtOnce => {
            let (mut one, other) = (spawn(&site.url), spawn(&site.url));
            let delay = site.instant(rng);
            if rng.bool() {
                std::thread::sleep(delay);
                one.kill().unwrap();
            }
            (vec![end(one), end(other)], format!("one of them perhaps killed after {delay:?}"))
        }
        Kind::ClockJumped => {
            let (clock, delay) = (site.temp.path().join("clock"), site.instant(rng));
            let jump = ["-3600", "+3600", "-400d", "+400d"][rng.usize(..4)];
            std::fs::write(&clock, "+0\n").unwrap();
            let mut load = site.load(&site.url);
            load.env("LD_PRELOAD", clock_library().unwrap()).env("FAKETIME_TIMESTAMP_FILE", &clock);
            load.env("FAKETIME_NO_CACHE", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                .env("FAKETIME_DONT_RESET", "1");
            let load = load.spawn().unwrap();
            std::thread::sleep(delay);
            std::fs::write(&clock, format!("{jump}\n")).unwrap();
            let ended = end(load);
            std::fs::remove_file(&clock).unwrap();
            (vec![ended], format!("by {jump} after {delay:?}"))
        }
        Kind::DownloadCut => with_source(Misbehaviour::Cut(place)),
        Kind::DownloadStalled => with_source(Misbehaviour::Stall(place)),
        Kind::FileChanged => with_source(Misbehaviour::Change(place % site.some_bytes)),
        Kind::SourceUnavailable => match rng.u8(..3) {
            0 => with_source(Misbehaviour::Vanish(place)),
            _ => with_source(Misbehaviour::Refuse(rng.usize(1..6))),
        },
        Kind::FileDamaged => match rng.bool() {
            true => with_source(Misbehaviour::Damage(place)),
            false => with_source(Misbehaviour::Shorten(place)),
        },
    }
}

/// Fills the disk with a file, but for some bytes.
fn fill(path: &Path, left: u64) {
    let disk = nix::sys::statvfs::statvfs(path.parent().unwrap()).unwrap();
    let free = disk.blocks_available() * disk.fragment_size();
    std::fs::write(path, vec![0; free.saturating_sub(left) as usize]).unwrap();
}

/// The library that gives a process another clock, where it is installed.
pub(crate) fn clock_library() -> Option<PathBuf> {
    std::env::var_os("TAXI_FAKETIME").map(PathBuf::from)
}
