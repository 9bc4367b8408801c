//! Events as log lines: what JSON logs on stderr, the ledger and orchestrators are given.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::phase::{Phase, seconds};
use super::{Event, Report, failure};
use crate::error::Error;

/// An event, with names that stay.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// When.
    pub at: Timestamp,
    /// `info`, `warning` or `error`.
    pub level: Level,
    /// `notice`, `phase_began`, `phase_ended`, `phase_failed`, `range_began`, `month_ended`,
    /// `task_began`, `task_said`, `task_ended` or `error`.
    pub event: String,
    /// The file that it is about, where one of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The task that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The phase that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// How long that took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// For people.
    pub message: String,
}

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Good to know.
    Info,
    /// Worth a look.
    Warning,
    /// What ended the command.
    Error,
}

impl Line {
    /// The line for an event that happens now.
    pub fn new(file: Option<&str>, event: Event<'_>) -> Self {
        let line = |event: &str, level, message: &str| Self {
            at: Timestamp::now(),
            level,
            event: event.to_owned(),
            file: file.map(str::to_owned),
            task: None,
            phase: None,
            seconds: None,
            message: message.to_owned(),
        };
        let of_phase = |line: Self, phase: Phase| Self { phase: Some(phase.name().to_owned()), ..line };
        let of_task = |line: Self, task: &str| Self { task: Some(task.to_owned()), ..line };
        match event {
            Event::Notice(text) => line("notice", Level::Info, text),
            Event::Began(phase, _) => of_phase(line("phase_began", Level::Info, ""), phase),
            Event::Ended(phase, took, detail) => {
                let line = of_phase(line("phase_ended", Level::Info, detail), phase);
                Self { seconds: Some(seconds(took)), ..line }
            }
            Event::Failed(phase) => of_phase(line("phase_failed", Level::Warning, ""), phase),
            Event::RangeBegan(files) => line("range_began", Level::Info, &format!("{files} months")),
            Event::MonthEnded(text) => line("month_ended", Level::Info, text),
            Event::TaskBegan { task, kind } => of_task(line("task_began", Level::Info, kind), task),
            Event::TaskSaid { task, level, text } => of_task(line("task_said", level, text), task),
            Event::TaskEnded { task, status, took, error } => {
                let level = if error.is_some() { Level::Warning } else { Level::Info };
                let message = error.map_or_else(|| status.to_owned(), |error| format!("{status}: {error}"));
                let line = of_task(line("task_ended", level, &message), task);
                Self { seconds: Some(seconds(took)), ..line }
            }
        }
    }

    /// The line for what a task says, in its own log.
    pub fn said(level: Level, text: &str) -> Self {
        Self::new(None, Event::TaskSaid { task: "", level, text }).without_task()
    }

    fn without_task(self) -> Self {
        Self { task: None, ..self }
    }
}

impl Line {
    /// The line for the error that a command ends with.
    pub fn error(error: &Error) -> Self {
        Self {
            at: Timestamp::now(),
            level: Level::Error,
            event: "error".to_owned(),
            file: None,
            task: None,
            phase: None,
            seconds: None,
            message: failure::text(error),
        }
    }
}

/// The lines of one run so far.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<Vec<Line>>>);

impl Log {
    /// A copy of them.
    pub fn lines(&self) -> Vec<Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Passes the events of one run on under its file's name, and keeps them.
pub struct RunReport {
    /// Where they go.
    pub outer: Arc<dyn Report>,
    /// The file's name, where there are several.
    pub file: Option<String>,
    /// Where they are kept.
    pub log: Log,
}

impl Report for RunReport {
    fn emit(&self, file: Option<&str>, event: Event<'_>) {
        // what a task says is in its own log
        if !matches!(event, Event::TaskSaid { .. }) {
            self.log.0.lock().unwrap_or_else(PoisonError::into_inner).push(Line::new(file, event));
        }
        self.outer.emit(self.file.as_deref().or(file), event);
    }
}
