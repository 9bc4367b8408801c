//! A running task: the context it runs in, and the record of it.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value as Json;
use uuid::Uuid;

use super::Execution;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::pipeline::document::{Diagnostic, Position};
use crate::pipeline::expression::{Scope, Template};
use crate::report::log::{Level, Line};
use crate::report::{Event, Report};

/// The outputs of a task, which expressions see under its id.
pub type Outputs = serde_json::Map<String, Json>;

/// Maximum number of log lines kept per task run.
const LOG_LIMIT_LINES: usize = 2000;

/// A running task.
pub struct TaskRun<'a> {
    /// The run that it is part of.
    pub execution: &'a Execution,
    /// The variables that its expressions see.
    pub scope: Scope,
    /// Ends the task on a signal or a timeout.
    pub interrupt: Interrupt,
    /// Its name in messages.
    pub name: &'a str,
    /// Its log.
    pub log: &'a TaskLog,
}

impl TaskRun<'_> {
    /// Fills in a template.
    pub fn fill(&self, template: &Template) -> Result<String> {
        self.scope.fill(template).map_err(|diagnostic| self.diagnostic(diagnostic))
    }

    /// Fills in an optional template.
    pub fn fill_optional(&self, template: Option<&Template>) -> Result<Option<String>> {
        template.map(|template| self.fill(template)).transpose()
    }

    /// Fills in a template and returns whether the result is true.
    pub fn holds(&self, template: &Template) -> Result<bool> {
        self.scope.holds(template).map_err(|diagnostic| self.diagnostic(diagnostic))
    }

    /// An error at a position in the flow's file.
    pub fn fault(&self, position: Position, message: String) -> Error {
        self.diagnostic(Diagnostic { position, message })
    }

    /// A diagnostic as an error of the flow.
    pub fn diagnostic(&self, diagnostic: Diagnostic) -> Error {
        self.execution.flow.faults(vec![diagnostic])
    }

    /// Writes a line to the task's log and reports it, with secrets masked.
    pub fn say(&self, level: Level, text: &str) {
        let text = self.execution.secrets.hide(text);
        self.log.add(level, &text);
        self.execution.report.emit(None, Event::TaskSaid { task: self.name, level, text: &text });
    }

    /// The reporter for a part of the task that is a separate run.
    pub fn reports(&self) -> Arc<dyn Report> {
        Arc::clone(&self.execution.report)
    }
}

/// The log of a task run.
#[derive(Debug, Default)]
pub struct TaskLog(Mutex<Vec<Line>>);

impl TaskLog {
    fn add(&self, level: Level, text: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match lines.len() {
            // PostgreSQL's text type cannot hold NUL
            ..LOG_LIMIT_LINES => lines.push(Line::said(level, &text.replace('\0', "\u{fffd}"))),
            LOG_LIMIT_LINES => lines.push(Line::said(Level::Warning, "log truncated")),
            _ => {}
        }
    }

    /// A copy of the lines.
    pub fn lines(&self) -> Vec<Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The status of a task run or of a flow's run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is running.
    Running,
    /// It succeeded.
    Succeeded,
    /// It failed with `allowFailure`, or it needed a retry with `warningOnRetry`; or, for a flow's run, this
    /// happened to one of its tasks.
    Warning,
    /// It failed.
    Failed,
    /// A signal ended it.
    Cancelled,
    /// Its condition was false, or it was not started.
    Skipped,
}

impl State {
    /// The stable name that JSON output and the ledger use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }
}

/// One attempt of a task.
#[derive(Clone, Debug, Serialize)]
pub struct Attempt {
    /// When it started.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// The error message, if it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The record of a task run.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// The id of the task run.
    pub task_run_id: Uuid,
    /// The id of the parent task run; `None` directly below the flow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<Uuid>,
    /// The id of the task.
    pub task_id: String,
    /// The task's type.
    pub task_type: String,
    /// The value of its loop iteration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Its status.
    pub status: State,
    /// The attempts that have ended.
    pub attempts: Vec<Attempt>,
    /// Its outputs, with secrets masked.
    #[serde(skip_serializing_if = "Outputs::is_empty")]
    pub outputs: Outputs,
    /// The stable name of the error kind, if it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_kind: Option<&'static str>,
    /// The error message, if it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When it started.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Its log, once it has ended.
    #[serde(skip)]
    pub log: Vec<Line>,
}
