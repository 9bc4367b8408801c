//! A task under way: what it may use, and what is recorded of it.

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

/// What expressions find under a task's id.
pub type Outputs = serde_json::Map<String, Json>;

/// The most lines of a log that are kept.
const LOG_LIMIT_LINES: usize = 2000;

/// A task under way.
pub struct TaskRun<'a> {
    /// The run that it is part of.
    pub execution: &'a Execution,
    /// The names that its expressions see.
    pub scope: Scope,
    /// What may end it.
    pub interrupt: Interrupt,
    /// What messages call it.
    pub name: &'a str,
    /// What it has said.
    pub log: &'a TaskLog,
}

impl TaskRun<'_> {
    /// Fills in a template.
    pub fn fill(&self, template: &Template) -> Result<String> {
        self.scope.fill(template).map_err(|diagnostic| self.diagnostic(diagnostic))
    }

    /// Fills in a template, if there is one.
    pub fn fill_optional(&self, template: Option<&Template>) -> Result<Option<String>> {
        template.map(|template| self.fill(template)).transpose()
    }

    /// Fills in a template and says whether it is true.
    pub fn holds(&self, template: &Template) -> Result<bool> {
        self.scope.holds(template).map_err(|diagnostic| self.diagnostic(diagnostic))
    }

    /// An error at a place of the flow.
    pub fn fault(&self, position: Position, message: String) -> Error {
        self.diagnostic(Diagnostic { position, message })
    }

    /// The same.
    pub fn diagnostic(&self, diagnostic: Diagnostic) -> Error {
        self.execution.flow.faults(vec![diagnostic])
    }

    /// Says something, in the task's log.
    pub fn say(&self, level: Level, text: &str) {
        let text = self.execution.secrets.hide(text);
        self.log.add(level, &text);
        self.execution.report.emit(None, Event::TaskSaid { task: self.name, level, text: &text });
    }

    /// Where a part of the task reports to that is a run of its own.
    pub fn reports(&self) -> Arc<dyn Report> {
        Arc::clone(&self.execution.report)
    }
}

/// What a task has said.
#[derive(Debug, Default)]
pub struct TaskLog(Mutex<Vec<Line>>);

impl TaskLog {
    fn add(&self, level: Level, text: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match lines.len() {
            // NUL is in no text of PostgreSQL's
            ..LOG_LIMIT_LINES => lines.push(Line::said(level, &text.replace('\0', "\u{fffd}"))),
            LOG_LIMIT_LINES => lines.push(Line::said(Level::Warning, "more was said, and is left out here")),
            _ => {}
        }
    }

    /// A copy of the lines.
    pub fn lines(&self) -> Vec<Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How a task run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is under way.
    Running,
    /// It did what it is for.
    Succeeded,
    /// It failed and may, or something in it did, or it took more than one attempt where that is worth a warning.
    Warning,
    /// It failed.
    Failed,
    /// A signal ended it.
    Cancelled,
    /// Its condition did not hold.
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
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// Why it failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What is recorded of a task run.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// The task run.
    pub task_run_id: Uuid,
    /// The task run that runs it, where it is not the flow itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<Uuid>,
    /// The task.
    pub task_id: String,
    /// Its type.
    pub task_type: String,
    /// The value of the loop that it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// How it stands.
    pub status: State,
    /// The attempts that have ended.
    pub attempts: Vec<Attempt>,
    /// What it has come to, without secrets.
    #[serde(skip_serializing_if = "Outputs::is_empty")]
    pub outputs: Outputs,
    /// The stable name of the error's kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_kind: Option<&'static str>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// What it has said, once it has ended.
    #[serde(skip)]
    pub log: Vec<Line>,
}
