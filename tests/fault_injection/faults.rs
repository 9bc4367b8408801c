//! The kinds of faults, and how each is injected during a load.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use fastrand::Rng;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::test_bed::{DATABASE_TIMEOUT, SourceFault, TestBed};
use crate::support::proxy::{Direction, Fault};
use crate::support::wait_until;

/// A kind of fault during a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    ClientKilled,
    ServerKilled,
    BackendKilled,
    ConnectionCut,
    CommitResponseLost,
    DatabaseStalled,
    DatabaseSilent,
    DiskFull,
    TwoAtOnce,
    PoolerRestarted,
    ClockJumped,
    DownloadCut,
    DownloadStalled,
    FileChanged,
    SourceUnavailable,
    FileDamaged,
    DatabaseTimeouts,
}

/// Every kind with its weight. Quick faults have larger weights than those that need a restart.
pub(crate) const KINDS: [(Kind, u32); 17] = [
    (Kind::ClientKilled, 6),
    (Kind::ServerKilled, 2),
    (Kind::BackendKilled, 2),
    (Kind::ConnectionCut, 6),
    (Kind::CommitResponseLost, 3),
    (Kind::DatabaseStalled, 1),
    (Kind::DatabaseSilent, 1),
    (Kind::DiskFull, 1),
    (Kind::TwoAtOnce, 3),
    (Kind::PoolerRestarted, 2),
    (Kind::ClockJumped, 1),
    (Kind::DownloadCut, 4),
    (Kind::DownloadStalled, 1),
    (Kind::FileChanged, 2),
    (Kind::SourceUnavailable, 2),
    (Kind::FileDamaged, 2),
    (Kind::DatabaseTimeouts, 1),
];

/// The outcome of a load: its output, and whether it reports success.
pub(crate) struct LoadOutcome {
    pub(crate) output: String,
    pub(crate) succeeded: bool,
}

/// Waits until the load ends, which it must do after every fault.
fn wait_for(mut load: Child) -> LoadOutcome {
    wait_until("the load has ended", || load.try_wait().unwrap().is_some());
    let output = load.wait_with_output().unwrap();
    let result: Option<Value> = serde_json::from_slice(&output.stdout).ok();
    let status = result.map(|result| result["status"].clone()).unwrap_or_default();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let text = format!("{:?} {status}\n{stderr}", output.status);
    LoadOutcome { output: text, succeeded: output.status.success() }
}

fn kill_all(processes: &[Pid]) {
    processes.iter().for_each(|process| _ = kill(*process, Signal::SIGKILL));
}

/// Injects a fault during a load. Returns the outcomes of the loads and a description of the fault.
pub(crate) fn inject(kind: Kind, bed: &TestBed, rng: &mut Rng) -> (Vec<LoadOutcome>, String) {
    let spawn = |url: &str| bed.load(url).spawn().unwrap();
    let through_proxy = |fault: Fault| {
        bed.proxy.arm(fault);
        let outcome = wait_for(spawn(&bed.proxied_url));
        bed.proxy.arm(Fault::None);
        (vec![outcome], format!("{fault:?}"))
    };
    let with_source = |source_fault: SourceFault| {
        bed.set_source_fault(source_fault);
        (vec![wait_for(spawn(&bed.url))], format!("{source_fault:?}"))
    };
    let offset = rng.usize(..bed.file_bytes);
    match kind {
        Kind::ClientKilled => {
            let (mut load, delay) = (spawn(&bed.url), bed.instant(rng));
            std::thread::sleep(delay);
            load.kill().unwrap();
            (vec![wait_for(load)], format!("after {delay:?}"))
        }
        Kind::ServerKilled => {
            let (load, delay) = (spawn(&bed.url), bed.instant(rng));
            std::thread::sleep(delay);
            kill_all(&bed.server.processes());
            (vec![wait_for(load)], format!("after {delay:?}"))
        }
        Kind::BackendKilled => {
            let (load, delay) = (spawn(&bed.url), bed.instant(rng));
            let database = bed.database();
            std::thread::sleep(delay);
            let backends =
                database.sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'taxi-etl'");
            let backends: Vec<Pid> =
                backends.iter().map(|row| Pid::from_raw(row[0].parse().unwrap())).collect();
            let chosen = rng.choice(&backends).copied();
            kill_all(chosen.as_slice());
            (vec![wait_for(load)], format!("{chosen:?} after {delay:?}"))
        }
        Kind::ConnectionCut => {
            let (to_server, to_client, _) = bed.bytes;
            through_proxy(match rng.bool() {
                true => Fault::Cut(Direction::ToServer, rng.u64(..to_server)),
                false => Fault::Cut(Direction::ToClient, rng.u64(..to_client)),
            })
        }
        Kind::CommitResponseLost => through_proxy(Fault::LoseCommit(rng.u64(..bed.bytes.2))),
        Kind::DatabaseStalled => through_proxy(Fault::Stall(
            Direction::ToServer,
            rng.u64(..bed.bytes.0),
            DATABASE_TIMEOUT.mul_f64(rng.f64() * 0.6),
        )),
        Kind::DatabaseSilent => {
            // a stall that never ends, in half of the cases before the first row
            let max_offset = if rng.bool() { 4000 } else { bed.bytes.0 };
            through_proxy(Fault::Stall(Direction::ToServer, rng.u64(..max_offset), Duration::from_secs(3600)))
        }
        Kind::DiskFull => {
            let ballast = bed.server.path().join("ballast");
            let left = rng.u64(..30 << 20);
            fill(&ballast, left);
            let outcome = wait_for(spawn(&bed.url));
            std::fs::remove_file(&ballast).unwrap();
            (vec![outcome], format!("{left} bytes left"))
        }
        Kind::TwoAtOnce => {
            let (mut first, second) = (spawn(&bed.url), spawn(&bed.url));
            let delay = bed.instant(rng);
            if rng.bool() {
                std::thread::sleep(delay);
                first.kill().unwrap();
            }
            (vec![wait_for(first), wait_for(second)], format!("one of them possibly killed after {delay:?}"))
        }
        Kind::PoolerRestarted => {
            let mut pooler = bed.pooler.as_ref().unwrap().lock().unwrap();
            let (load, delay) = (spawn(&pooler.url), bed.instant(rng));
            std::thread::sleep(delay);
            pooler.restart();
            (vec![wait_for(load)], format!("after {delay:?}"))
        }
        Kind::ClockJumped => {
            let (clock, delay) = (bed.temp.path().join("clock"), bed.instant(rng));
            let jump = ["-3600", "+3600", "-400d", "+400d"][rng.usize(..4)];
            std::fs::write(&clock, "+0\n").unwrap();
            let mut load = bed.load(&bed.url);
            load.env("LD_PRELOAD", clock_library().unwrap()).env("FAKETIME_TIMESTAMP_FILE", &clock);
            load.env("FAKETIME_NO_CACHE", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                .env("FAKETIME_DONT_RESET", "1");
            let load = load.spawn().unwrap();
            std::thread::sleep(delay);
            std::fs::write(&clock, format!("{jump}\n")).unwrap();
            let outcome = wait_for(load);
            std::fs::remove_file(&clock).unwrap();
            (vec![outcome], format!("by {jump} after {delay:?}"))
        }
        Kind::DownloadCut => with_source(SourceFault::Cut(offset)),
        Kind::DownloadStalled => with_source(SourceFault::Stall(offset)),
        Kind::FileChanged => with_source(SourceFault::Change(offset % bed.old_file_bytes)),
        Kind::SourceUnavailable => match rng.u8(..3) {
            0 => with_source(SourceFault::Vanish(offset)),
            _ => with_source(SourceFault::Refuse(rng.usize(1..6))),
        },
        Kind::FileDamaged => match rng.bool() {
            true => with_source(SourceFault::Damage(offset)),
            false => with_source(SourceFault::Shorten(offset)),
        },
        Kind::DatabaseTimeouts => {
            // while the source stalls, the transaction is idle and a COPY is in progress
            let database = bed.database();
            let set = |action: &str| {
                for name in ["statement_timeout", "idle_in_transaction_session_timeout"] {
                    database.sql(&format!("ALTER DATABASE ny_taxi {}", action.replace("NAME", name)));
                }
            };
            set("SET NAME = '1s'");
            let result = with_source(SourceFault::Stall(offset));
            set("RESET NAME");
            result
        }
    }
}

/// Fills the disk with a file, except for `left` bytes.
fn fill(path: &Path, left: u64) {
    let disk = nix::sys::statvfs::statvfs(path.parent().unwrap()).unwrap();
    let free = disk.blocks_available() * disk.fragment_size();
    std::fs::write(path, vec![0; free.saturating_sub(left) as usize]).unwrap();
}

/// Returns the path of the library that fakes the clock of a process, if `TAXI_FAKETIME` is set.
pub(crate) fn clock_library() -> Option<PathBuf> {
    std::env::var_os("TAXI_FAKETIME").map(PathBuf::from)
}
