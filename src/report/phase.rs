//! The phases of a run, how far they are and how long they took.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use serde::ser::{Serialize, SerializeMap as _, Serializer};

use super::{Event, Report};

/// A part of a run that the user can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Connecting, and bringing up the server first where it is our own.
    Connect,
    /// Creating the tables that are missing.
    CreateTables,
    /// Keeping others away from the month, looking at the ledger and the target, opening the source.
    Prepare,
    /// Download to target, as one stream, and the merge of rows that may have a match there.
    Load,
    /// Counting the keys that the file repeats.
    CountDuplicates,
    /// The rows outside of the file's month, the ledger's row and the commit; one load after the other.
    Commit,
}

impl Phase {
    /// The stable name that JSON output and the ledger use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::CreateTables => "create_tables",
            Self::Prepare => "prepare",
            Self::Load => "load",
            Self::CountDuplicates => "count_duplicates",
            Self::Commit => "commit",
        }
    }
}

/// How far a streaming phase is; the stages count, the renderer reads.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// The bytes there are, where the source says so.
    pub total_bytes: Option<u64>,
    /// The bytes received.
    pub bytes: Arc<AtomicU64>,
    /// The rows sent.
    pub rows: Arc<AtomicU64>,
}

/// A phase under way: ended by [`Phases::end`], failed if dropped before.
pub struct Running<'a> {
    report: &'a dyn Report,
    phase: Phase,
    began: Instant,
    ended: bool,
}

impl<'a> Running<'a> {
    pub(super) fn new(report: &'a dyn Report, phase: Phase) -> Self {
        Self { report, phase, began: Instant::now(), ended: false }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.report.emit(None, Event::Failed(self.phase));
        }
    }
}

/// The phases that have ended, in order, with their durations.
#[derive(Clone, Debug, Default)]
pub struct Phases(Vec<(Phase, Duration)>);

impl Phases {
    /// Ends a phase with what came of it.
    pub fn end(&mut self, mut running: Running<'_>, detail: &str) {
        let took = running.began.elapsed();
        running.ended = true;
        running.report.emit(None, Event::Ended(running.phase, took, detail));
        self.0.push((running.phase, took));
    }

    /// Phase and duration, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Phase, Duration)> {
        self.0.iter().copied()
    }
}

impl Serialize for Phases {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (phase, took) in self.iter() {
            map.serialize_entry(phase.name(), &seconds(took))?;
        }
        map.end()
    }
}

/// A duration in seconds, to the millisecond.
pub fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}
