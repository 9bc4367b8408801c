//! A running task, and its access to the run: variables, databases, log.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value as Json;

use super::RunContext;
use super::connection::{Connection, Fault};
use super::databases::{self, BorrowedSession};
use crate::error::{Error, Result};
use crate::flow::expression::{Scope, Template};
use crate::flow::yaml::document::{Diagnostic, Position};
use crate::interrupt::Interrupt;
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
}

impl TaskRun<'_> {
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
        let text = self.context.secrets.hide(text);
        self.log.add(level, &text);
        self.context.report.emit(None, Event::TaskLogged { task: self.name, level, text: &text });
    }

    /// The reporter for a part of the task that is a separate run.
    pub(crate) fn reports(&self) -> Arc<dyn Report> {
        Arc::clone(&self.context.report)
    }
}

/// The log of a task run.
#[derive(Debug, Default)]
pub(crate) struct TaskLog(Mutex<Vec<Line>>);

impl TaskLog {
    fn add(&self, level: Level, text: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match lines.len() {
            // PostgreSQL's text type cannot hold NUL
            ..LOG_LIMIT_LINES => lines.push(Line::logged(level, &text.replace('\0', "\u{fffd}"))),
            LOG_LIMIT_LINES => lines.push(Line::logged(Level::Warning, "log truncated")),
            _ => {}
        }
    }

    /// A copy of the lines.
    pub(crate) fn lines(&self) -> Vec<Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
