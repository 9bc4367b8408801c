//! The end of a run that a task of the flow has chosen.

use crate::error::{Detail, Error, Kind, Result};
use crate::flow::yaml::decode::choices;
use crate::ledger::RunStatus;

choices! {
    /// The state in which an Exit task ends the run.
    pub(crate) enum ExitState {
        /// The run succeeds.
        Success = "SUCCESS",
        /// The run ends with a warning.
        Warning = "WARNING",
        /// The run counts as cancelled.
        Killed = "KILLED",
        /// The run fails.
        Failed = "FAILED",
        /// The run counts as cancelled, as with `KILLED`.
        Canceled = "CANCELED",
    }
}

/// The end of a run by an Exit task.
#[derive(Clone, Debug)]
pub(crate) struct RunEnd {
    /// The state in which the run ends.
    pub(crate) state: ExitState,
    /// The name of the task.
    pub(crate) task: String,
}

impl RunEnd {
    /// An error if the state is that of a run that has not succeeded.
    pub(crate) fn result(&self) -> Result<()> {
        let state = match self.state {
            ExitState::Success | ExitState::Warning => return Ok(()),
            ExitState::Failed => "failed",
            ExitState::Killed | ExitState::Canceled => "cancelled",
        };
        let text = format!("the task {} ends the run as {state}", self.task);
        Err(Error::new(Kind::TaskFailed, text).with_detail(Detail::NamesTask))
    }

    /// The status of the run, which ended with `error`.
    pub(crate) fn status(&self, error: &Error) -> RunStatus {
        match self.state {
            ExitState::Killed | ExitState::Canceled => RunStatus::Cancelled,
            _ => RunStatus::of(error),
        }
    }
}
