//! The record of a task run, for the summary and the ledger.

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use crate::flow::context::task_run::Outputs;
use crate::ledger::RunStatus;
use crate::report::log::Line;

/// One attempt of a task.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Attempt {
    /// When the attempt started.
    pub(crate) started_at: Timestamp,
    /// When the attempt ended.
    pub(crate) finished_at: Timestamp,
    /// The error message, if the attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// The record of a task run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TaskRecord {
    /// The id of the task run.
    pub(crate) task_run_id: Uuid,
    /// The id of the parent task run; `None` directly below the flow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parent_id: Option<Uuid>,
    /// The id of the task.
    pub(crate) task_id: String,
    /// The task's type.
    pub(crate) task_type: String,
    /// The value of the loop iteration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<String>,
    /// The status of the task.
    pub(crate) status: RunStatus,
    /// The attempts that have ended.
    pub(crate) attempts: Vec<Attempt>,
    /// The outputs of the task, with secrets masked.
    #[serde(skip_serializing_if = "Outputs::is_empty")]
    pub(crate) outputs: Outputs,
    /// The stable name of the error kind, if the task failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error_kind: Option<&'static str>,
    /// The error message, if the task failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// When the task started.
    pub(crate) started_at: Timestamp,
    /// When the task ended.
    pub(crate) finished_at: Option<Timestamp>,
    /// The log of the task, once the task has ended.
    #[serde(skip)]
    pub(crate) log: Vec<Line>,
}
