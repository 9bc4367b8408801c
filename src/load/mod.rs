//! From records to rows in the target, all or nothing:
//!
//! ```text
//!                ┌─► a month without a partition: COPY into a new table ─► ATTACH it ─┐
//! BEGIN, lock ─► │                                                                    ├─► ledger row ─► COMMIT
//!                └─► else: COPY into a staging table ─► MERGE ────────────────────────┘
//! ```
//!
//! All of it is one transaction. Its [locks] keep two loads of a month apart, and the server drops them with the transaction
//! when the client dies, so a load that is killed leaves no rows, no tables and no locks.
//!
//! Loads of different months run side by side and share nothing until the end. Then the table's lock lets one after the other
//! add its rows, so each sees what the others have committed: the result is that of one load after the other, in the order of
//! their commits.

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

/// What to do with a file that the ledger knows as loaded, where the source has another one by now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum IfLoaded {
    /// Leave the target as it is.
    Skip,
    /// Insert the rows that are new.
    #[default]
    Merge,
    /// Swap the file's rows for those that it has now, in one transaction.
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

/// How to load, whatever is loaded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Load even what is loaded already.
    pub force: bool,
    /// What to do with a file that has changed.
    pub if_loaded: IfLoaded,
    /// How long to wait for another run, or for whoever holds a table.
    pub lock_timeout: Duration,
    /// How much the source is borne with.
    pub patience: Patience,
}
