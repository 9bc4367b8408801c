//! The ledger: the run history, in the schema `taxi_etl` of the target's database. It decides which files count as
//! already loaded.
//!
//! A run is recorded when it begins. Its success is recorded in the transaction that inserts its rows, so that the
//! two cannot disagree. Its failure or cancellation is recorded in a separate transaction, after the load's
//! transaction was rolled back. A killed run records nothing: the next run detects it, because the server has
//! released the killed run's advisory lock.

pub(crate) mod history;
pub(crate) mod key_values;
pub(crate) mod prune;
pub(crate) mod rejects;
pub(crate) mod run;
pub(crate) mod schema;

use serde::Serialize;

use crate::error::Error;

/// The status of a run, or of a task run in a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub(crate) enum RunStatus {
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
    /// The load succeeded, and the rows of its file were dropped since. The table has the status `succeeded` and the
    /// time in `dropped_at`.
    Dropped,
    /// The run was not started, or the task's condition was false. The ledger has it for task runs only.
    #[value(skip)]
    Skipped,
}

impl RunStatus {
    /// The stable name that JSON output and the ledger use.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
            Self::Dropped => "dropped",
            Self::Skipped => "skipped",
        }
    }

    /// The status of a run that ended with `error`.
    pub(crate) fn of(error: &Error) -> Self {
        if error.kind().is_signal() { Self::Cancelled } else { Self::Failed }
    }
}
