//! The phases of a run, with their progress and durations.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use serde::ser::{Serialize, SerializeMap as _, Serializer};

use super::{Event, Report};

/// A phase of a run, as shown to the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Connecting, after starting the embedded server if it is used.
    Connect,
    /// Creating the missing tables.
    CreateTables,
    /// Locking the month, checking the ledger and the target, opening the source.
    Prepare,
    /// Streaming the file from the source into the staging tables.
    Load,
    /// Counting the rows that repeat a key of the file.
    CountDuplicates,
    /// Adding the staged rows to the target, writing the ledger's row and committing. Loads into one table do this
    /// one at a time.
    Commit,
}

impl Phase {
    /// The stable name that JSON output and the ledger use.
    pub(crate) const fn name(self) -> &'static str {
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

/// The progress of a streaming phase. The stages update the counters; the renderer reads them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    /// The total number of bytes, if the source announces it.
    pub(crate) total_bytes: Option<u64>,
    /// The bytes received.
    pub(crate) bytes: Arc<AtomicU64>,
    /// The rows sent.
    pub(crate) rows: Arc<AtomicU64>,
}

/// A running phase. [`Phases::end`] ends it; it counts as failed if it is dropped before.
pub(crate) struct Running<'a> {
    report: &'a dyn Report,
    phase: Phase,
    began: Instant,
    ended: bool,
}

impl<'a> Running<'a> {
    pub(crate) fn new(report: &'a dyn Report, phase: Phase) -> Self {
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
pub(crate) struct Phases(Vec<(Phase, Duration)>);

impl Phases {
    /// Ends a phase. `detail` is its result in words.
    pub(crate) fn end(&mut self, mut running: Running<'_>, detail: &str) {
        let took = running.began.elapsed();
        running.ended = true;
        running.report.emit(None, Event::Ended(running.phase, took, detail));
        self.0.push((running.phase, took));
    }

    /// The phases and their durations, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Phase, Duration)> {
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

/// A duration in seconds, rounded to milliseconds.
pub(crate) fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}
