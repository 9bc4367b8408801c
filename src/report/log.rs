//! Events as log lines: what JSON logs on stderr, the ledger and orchestrators are given.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::phase::seconds;
use super::{Event, Report, failure};
use crate::error::Error;

/// An event, with names that stay.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// When.
    pub at: Timestamp,
    /// `info`, `warning` or `error`.
    pub level: Level,
    /// `notice`, `phase_began`, `phase_ended`, `phase_failed`, `range_began`, `month_ended` or `error`.
    pub event: String,
    /// The file that it is about, where one of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
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
        let (name, level, phase, took, message) = match event {
            Event::Notice(text) => ("notice", Level::Info, None, None, text.to_owned()),
            Event::Began(phase, _) => ("phase_began", Level::Info, Some(phase), None, String::new()),
            Event::Ended(phase, took, detail) => {
                ("phase_ended", Level::Info, Some(phase), Some(took), detail.to_owned())
            }
            Event::Failed(phase) => ("phase_failed", Level::Warning, Some(phase), None, String::new()),
            Event::RangeBegan(months) => ("range_began", Level::Info, None, None, format!("{months} months")),
            Event::MonthEnded(text) => ("month_ended", Level::Info, None, None, text.to_owned()),
        };
        Self {
            at: Timestamp::now(),
            level,
            event: name.to_owned(),
            file: file.map(str::to_owned),
            phase: phase.map(|phase| phase.name().to_owned()),
            seconds: took.map(seconds),
            message,
        }
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
    fn emit(&self, _: Option<&str>, event: Event<'_>) {
        self.log.0.lock().unwrap_or_else(PoisonError::into_inner).push(Line::new(None, event));
        self.outer.emit(self.file.as_deref(), event);
    }
}
