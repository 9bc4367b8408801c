//! From records to rows in the target, all or nothing:
//!
//! ```text
//!                ┌─► rows that cannot match: COPY into the target ──┐
//! BEGIN, lock ─► │                                                  ├─► strays, ledger row ─► COMMIT
//!                └─► others: COPY into a chunk ─► MERGE ────────────┘
//! ```
//!
//! One transaction, which ends with the ledger's row. Its [locks] keep two loads of a month apart, and the server drops them
//! with the transaction when the client dies, so a load that is killed leaves no rows, no tables and no locks.

pub mod copy;
pub mod duplicates;
pub mod job;
pub mod locks;
pub mod merge;
pub mod outlook;
pub mod schema;
pub mod sessions;
pub mod tables;
pub mod time_index;
pub mod turn;
pub mod verify;

use std::time::Duration;

use turn::Turn;

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
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Load even what is loaded already.
    pub force: bool,
    /// What to do with a file that has changed.
    pub if_loaded: IfLoaded,
    /// How long to wait for another run, or for whoever holds a table.
    pub lock_timeout: Duration,
    /// How much the source is borne with.
    pub patience: Patience,
    /// When to write, where others load into the same table.
    pub turn: Turn,
}
