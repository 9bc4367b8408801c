//! A running task, and its access to the run: variables, databases, log.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use minijinja::Value as Data;
use serde_json::Value as Json;

use super::RunContext;
use super::connection::{Connection, Fault};
use super::databases::{self, BorrowedSession};
use crate::error::{Error, Result};
use crate::flow::expression::{Scope, Template};
use crate::flow::model::values::Rendered;
use crate::flow::yaml::decode::Decode;
use crate::flow::yaml::document::{Diagnostic, Position};
use crate::interrupt::Interrupt;
use crate::ledger::RunStatus;
use crate::report::event::Level;
use crate::report::log::Line;
use crate::report::{Event, Report};

/// The outputs of a task. Expressions find them under the task's id.
pub(crate) type Outputs = serde_json::Map<String, Json>;

/// Maximum number of log lines kept per task run.
const LOG_LIMIT_LINES: usize = 2000;

/// A running task.
pub(crate) struct TaskRun<'a> {
    /// What the tasks of the run share.
    pub(crate) context: &'a RunContext,
    /// The variables that the task's expressions can use.
    pub(crate) scope: Scope,
    /// Ends the task on a signal or a timeout.
    pub(crate) interrupt: Interrupt,
    /// The task's name in messages.
    pub(crate) name: &'a str,
    /// The task's log.
    pub(crate) log: &'a TaskLog,
    /// The least severe level of the log.
    pub(crate) log_level: Level,
    /// The folder that the tasks of a WorkingDirectory share.
    pub(crate) shared_dir: Option<&'a Path>,
}

impl TaskRun<'_> {
    /// The same task run with another variable for expressions.
    pub(crate) fn with(&self, name: &'static str, value: impl Into<Data>) -> Self {
        Self { scope: self.scope.clone().with(name, value), interrupt: self.interrupt.clone(), ..*self }
    }

    /// Fills in a template.
    pub(crate) fn fill(&self, template: &Template) -> Result<String> {
        self.scope.fill(template).map_err(|diagnostic| self.diagnostic(diagnostic))
    }

    /// Fills in an optional template.
    pub(crate) fn fill_optional(&self, template: Option<&Template>) -> Result<Option<String>> {
        template.map(|template| self.fill(template)).transpose()
    }

    /// Fills in a template and returns whether the result is true.
    pub(crate) fn is_true(&self, template: &Template) -> Result<bool> {
        self.scope.is_true(template).map_err(|diagnostic| self.diagnostic(diagnostic))
    }

    /// The value of a property that an expression may yield.
    pub(crate) fn resolve<T: Decode + Clone>(&self, value: &Rendered<T>) -> Result<T> {
        value.resolve(&self.scope).map_err(|diagnostic| self.diagnostic(diagnostic))
    }

    /// Creates an error at a position in the flow's file.
    pub(crate) fn fault(&self, position: Position, message: String) -> Error {
        self.diagnostic(Diagnostic { position, message })
    }

    /// Converts a diagnostic to an error of the flow.
    pub(crate) fn diagnostic(&self, diagnostic: Diagnostic) -> Error {
        self.context.document.faults(vec![diagnostic]).into()
    }

    /// Opens a session on the task's own database, else on the run's main database.
    pub(crate) async fn session(&self, connection: Option<&Connection>) -> Result<BorrowedSession<'_>> {
        let databases = &self.context.databases;
        let own = connection.filter(|connection| databases.given().is_none() && connection.url.is_some());
        let settings = match own {
            Some(connection) => {
                let settings = connection.resolve(&self.scope).map_err(|fault| match fault {
                    Fault::Expression(diagnostic) => self.diagnostic(diagnostic),
                    Fault::Settings(error) => error,
                })?;
                databases::keep_password(&settings, &self.context.secrets);
                settings
            }
            None => databases.main()?.clone(),
        };
        databases.session(settings, &self.interrupt, self.context.report.as_ref()).await
    }

    /// Writes a line to the task's log and reports it, with secrets masked.
    pub(crate) fn log(&self, level: Level, text: &str) {
        if level < self.log_level {
            return;
        }
        let text = self.context.secrets.hide(text);
        self.log.add(level, &text);
        self.context.report.emit(None, Event::TaskLogged { task: self.name, level, text: &text });
    }

    /// Lets the task end with a warning.
    pub(crate) fn warn(&self) {
        self.log.has_warned.store(true, Ordering::Relaxed);
    }

    /// Adds a part of the task to the run's record, with secrets masked.
    pub(crate) fn add_part(&self, mut part: Part) {
        part.error = part.error.map(|text| self.context.secrets.hide(&text));
        self.log.parts.lock().unwrap_or_else(PoisonError::into_inner).push(part);
    }

    /// The reporter for a part of the task that is a separate run.
    pub(crate) fn reports(&self) -> Arc<dyn Report> {
        Arc::clone(&self.context.report)
    }
}

/// A part of a task that has a result of its own, like a test of a dbt project.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// The name of the part, unique within the task.
    pub(crate) name: String,
    /// The result.
    pub(crate) status: RunStatus,
    /// The reason, if the part failed.
    pub(crate) error: Option<String>,
    /// When the part started.
    pub(crate) started_at: Timestamp,
    /// When the part ended.
    pub(crate) finished_at: Timestamp,
}

/// The log of a task run, and what the task says of its result.
#[derive(Debug, Default)]
pub(crate) struct TaskLog {
    lines: Mutex<Vec<Line>>,
    parts: Mutex<Vec<Part>>,
    has_warned: AtomicBool,
}

impl TaskLog {
    fn add(&self, level: Level, text: &str) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        match lines.len() {
            // PostgreSQL's text type cannot hold NUL
            ..LOG_LIMIT_LINES => lines.push(Line::logged(level, &text.replace('\0', "\u{fffd}"))),
            LOG_LIMIT_LINES => lines.push(Line::logged(Level::Warning, "log truncated")),
            _ => {}
        }
    }

    /// A copy of the lines.
    pub(crate) fn lines(&self) -> Vec<Line> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    /// Takes the parts out of the log.
    pub(crate) fn take_parts(&self) -> Vec<Part> {
        std::mem::take(&mut *self.parts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the current attempt has warned. The next attempt starts without a warning.
    pub(crate) fn take_warning(&self) -> bool {
        self.has_warned.swap(false, Ordering::Relaxed)
    }
}
