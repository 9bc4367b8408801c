//! Events as log lines, for JSON logs on stderr, the ledger and orchestrators.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::event::{Event, Level, Report};
use super::failure;
use super::phase::{Phase, seconds};
use crate::error::Error;

/// An event with stable field names.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    /// The time of the event.
    pub(crate) at: Timestamp,
    /// `info`, `warning` or `error`.
    pub(crate) level: Level,
    /// `notice`, `phase_began`, `phase_ended`, `phase_failed`, `range_began`, `month_ended`,
    /// `task_began`, `task_said`, `task_ended` or `error`.
    pub(crate) event: String,
    /// The file that the event belongs to, if the command loads several files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<String>,
    /// The task that the event belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) task: Option<String>,
    /// The phase that the event belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) phase: Option<String>,
    /// How long the phase or task took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seconds: Option<f64>,
    /// The text for people.
    pub(crate) message: String,
}

impl Line {
    /// The line for an event, with the current time.
    pub(crate) fn new(file: Option<&str>, event: Event<'_>) -> Self {
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
            Event::MonthCancelled => line("month_ended", Level::Info, "cancelled"),
            Event::TaskBegan { task, kind } => of_task(line("task_began", Level::Info, kind), task),
            Event::TaskLogged { task, level, text } => of_task(line("task_said", level, text), task),
            Event::TaskEnded { task, status, took, error } => {
                let level = if error.is_some() { Level::Warning } else { Level::Info };
                let message = error.map_or_else(|| status.to_owned(), |error| format!("{status}: {error}"));
                let line = of_task(line("task_ended", level, &message), task);
                Self { seconds: Some(seconds(took)), ..line }
            }
        }
    }

    /// The line for a task's message in the task's own log.
    pub(crate) fn logged(level: Level, text: &str) -> Self {
        Self::new(None, Event::TaskLogged { task: "", level, text }).without_task()
    }

    /// The line as text for people, without its time.
    pub(crate) fn words(&self) -> String {
        let phase = self.phase.as_deref().unwrap_or_default().replace('_', " ");
        let what = match self.event.as_str() {
            "phase_began" => format!("{phase}: started"),
            "phase_ended" => format!("{phase}: ended"),
            "phase_failed" => format!("{phase}: failed"),
            _ => self.task.clone().unwrap_or_default(),
        };
        let took = self.seconds.map(|seconds| format!("after {seconds:.3} s")).unwrap_or_default();
        let message = if what.is_empty() || self.message.is_empty() {
            self.message.clone()
        } else {
            format!(": {}", self.message)
        };
        let separator = if took.is_empty() { "" } else { " " };
        format!("{what}{separator}{took}{message}")
    }

    fn without_task(self) -> Self {
        Self { task: None, ..self }
    }
}

impl Line {
    /// The line for the error that ended a command.
    pub(crate) fn error(error: &Error) -> Self {
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
pub(crate) struct Log(Arc<Mutex<Vec<Line>>>);

impl Log {
    /// Returns a copy of the lines.
    pub(crate) fn lines(&self) -> Vec<Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Forwards the events of one run under its file's name, and stores them.
pub(crate) struct RunReport {
    /// The report that receives the events.
    pub(crate) outer: Arc<dyn Report>,
    /// The file's name, if the command loads several files.
    pub(crate) file: Option<String>,
    /// The log that stores the events.
    pub(crate) log: Log,
}

impl Report for RunReport {
    fn emit(&self, file: Option<&str>, event: Event<'_>) {
        // a task's messages are stored in its own log
        if !matches!(event, Event::TaskLogged { .. }) {
            self.log.0.lock().unwrap_or_else(PoisonError::into_inner).push(Line::new(file, event));
        }
        self.outer.emit(self.file.as_deref().or(file), event);
    }
}
