//! The ledger: the run history in the schema `taxi_etl` of the target's database, which decides what is loaded already.
//!
//! A run is written down when it begins. That it succeeded is written in the transaction that inserts its rows, so the
//! two cannot disagree; that it failed or was cancelled in one of its own, after the load's was rolled back. A run whose
//! process was killed says nothing: the next run notices, by an advisory lock that the server has let go.

pub mod history;
pub mod rejects;
pub mod run;
pub mod schema;

use crate::error::{Error, Kind};

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Status {
    /// It is under way.
    Running,
    /// It did what it is for; a load's rows are in the target.
    Succeeded,
    /// It did what it is for, but for a task that may fail.
    Warning,
    /// It failed; a load changed nothing.
    Failed,
    /// It was stopped by a signal; a load changed nothing.
    Cancelled,
    /// Its process ended without a word; a load changed nothing.
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

    /// How a run stands that has ended with `error`.
    pub fn of(error: &Error) -> Self {
        match error.kind() {
            Kind::Interrupted | Kind::Terminated => Self::Cancelled,
            _ => Self::Failed,
        }
    }
}
