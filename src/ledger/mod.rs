//! The ledger: the run history, in the schema `taxi_etl` of the target's database. It decides which files count as
//! already loaded.
//!
//! A run is recorded when it begins. Its success is recorded in the transaction that inserts its rows, so that the
//! two cannot disagree. Its failure or cancellation is recorded in a separate transaction, after the load's
//! transaction was rolled back. A killed run records nothing: the next run detects it, because the server has
//! released the killed run's advisory lock.

pub mod history;
pub mod rejects;
pub mod run;
pub mod schema;

use crate::error::{Error, Kind};

/// The status of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Status {
    /// The run is in progress.
    Running,
    /// The run succeeded; the rows of a load are in the target.
    Succeeded,
    /// The run succeeded, but a task ended with a warning.
    Warning,
    /// The run failed; a load changed nothing.
    Failed,
    /// A signal stopped the run; a load changed nothing.
    Cancelled,
    /// The process ended without recording a result; a load changed nothing.
    Lost,
}

impl Status {
    /// The stable name that JSON output and the ledger use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
        }
    }

    /// The status of a run that ended with `error`.
    pub fn of(error: &Error) -> Self {
        match error.kind() {
            Kind::Interrupted | Kind::Terminated => Self::Cancelled,
            _ => Self::Failed,
        }
    }
}
