//! Loads records into the target, all or nothing:
//!
//! ```text
//!                ┌─► a month without a partition: COPY into a new table ─► ATTACH it ─┐
//! BEGIN, lock ─► │                                                                    ├─► ledger row ─► COMMIT
//!                └─► else: COPY into a staging table ─► MERGE ────────────────────────┘
//! ```
//!
//! All of this is one transaction. Its [locks] keep two loads of one month apart. If the client dies, the server
//! rolls back the transaction and releases the locks, so a load that is killed leaves no rows, no tables and no
//! locks.
//!
//! Loads of different months run in parallel and share nothing until they add their rows. Then the table's lock
//! lets one load at a time add its rows, so that each load sees what the others have committed. The result is the
//! same as if the loads had run one after the other, in the order of their commits.

pub mod attach;
pub mod copy;
pub mod job;
pub mod locks;
pub mod merge;
pub mod outlook;
pub mod schema;
pub mod sessions;
pub mod staging;
pub mod tables;
pub mod target;
pub mod verify;

use std::time::Duration;

use crate::extract::transfer::Patience;

/// What to do if the file has changed at the source since it was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum IfLoaded {
    /// Leave the target unchanged, and do not ask the source.
    Skip,
    /// Insert the rows that are new.
    #[default]
    Merge,
    /// Replace the rows of the loaded file with those of the new file, in one transaction.
    Replace,
}

impl IfLoaded {
    /// The stable name that the ledger uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Merge => "merge",
            Self::Replace => "replace",
        }
    }
}

/// Options that apply to every load.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Load a file even if it is already loaded.
    pub force: bool,
    /// What to do if the file has changed at the source since it was loaded.
    pub if_loaded: IfLoaded,
    /// Longest wait for a lock that another run or session holds.
    pub lock_timeout: Duration,
    /// Timeout and retry settings for the source.
    pub patience: Patience,
}
