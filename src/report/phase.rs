//! The phases of a run, and the progress of the one that streams.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

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
    /// Counting the rows with a key that an earlier row of the file has.
    CountDuplicates,
    /// Adding the staged rows to the target, writing the ledger's row and committing. For each table, only
    /// one load at a time is in this phase.
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

/// A duration in seconds, rounded to milliseconds.
pub(crate) fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}
