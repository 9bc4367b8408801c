//! What the user sees. The stages emit typed events; the renderers here only render them.
//!
//! stdout is the result; stderr is progress, notices and errors.

pub mod failure;
pub(crate) mod json_lines;
pub(crate) mod lines;
pub(crate) mod load_counts;
pub(crate) mod log;
pub mod output;
pub(crate) mod phase;
pub(crate) mod summary;
pub(crate) mod table;
pub(crate) mod terminal;

use std::io::IsTerminal as _;
use std::time::Duration;

use crate::secrets::Secrets;
use log::Level;
use phase::{Phase, Progress, Running};

/// An event of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event<'a> {
    /// A message for the user.
    Notice(&'a str),
    /// A phase begins. A phase that streams data has a progress counter.
    Began(Phase, Option<&'a Progress>),
    /// A phase has ended, with its duration and its result in words.
    Ended(Phase, Duration, &'a str),
    /// A phase has failed; the error follows.
    Failed(Phase),
    /// A load of this many files begins.
    RangeBegan(usize),
    /// One of the files is finished, with its result in words.
    MonthEnded(&'a str),
    /// A task of a flow begins.
    TaskBegan {
        /// The task's name, with the values of the loops around it.
        task: &'a str,
        /// The task's type.
        kind: &'a str,
    },
    /// A task of a flow logs a message.
    TaskSaid {
        /// The task's name.
        task: &'a str,
        /// The severity of the message.
        level: Level,
        /// The message.
        text: &'a str,
    },
    /// A task of a flow has ended.
    TaskEnded {
        /// The task's name.
        task: &'a str,
        /// The task's status.
        status: &'a str,
        /// How long the task took.
        took: Duration,
        /// Why the task failed, if it did.
        error: Option<&'a str>,
    },
}

/// Renders events.
pub(crate) trait Report: Send + Sync {
    /// Renders an event. If the command loads several files, `file` is the one that the event is about.
    fn emit(&self, file: Option<&str>, event: Event<'_>);
}

impl dyn Report + '_ {
    /// Begins a phase. [`phase::Phases::end`] takes the returned value and ends the phase.
    pub(crate) fn begin(&self, phase: Phase, progress: Option<&Progress>) -> Running<'_> {
        self.emit(None, Event::Began(phase, progress));
        Running::new(self, phase)
    }

    /// Emits a message for the user.
    pub(crate) fn notice(&self, text: &str) {
        self.emit(None, Event::Notice(text));
    }
}

/// Format of the log on stderr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// Progress bars on a terminal, plain lines elsewhere.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The renderer for stderr in this format.
pub(crate) fn for_stderr(format: LogFormat) -> Box<dyn Report> {
    match format {
        LogFormat::Json => Box::new(json_lines::JsonLines),
        LogFormat::Text if std::io::stderr().is_terminal() => Box::new(terminal::Terminal::default()),
        LogFormat::Text => Box::new(lines::Lines),
    }
}

/// Ignores all events.
pub(crate) struct Quiet;

impl Report for Quiet {
    fn emit(&self, _: Option<&str>, _: Event<'_>) {}
}

/// Forwards events to each of the reports.
pub(crate) struct Several(pub(crate) Vec<Box<dyn Report>>);

impl Report for Several {
    fn emit(&self, file: Option<&str>, event: Event<'_>) {
        self.0.iter().for_each(|report| report.emit(file, event));
    }
}

/// Forwards events with the secrets masked.
pub(crate) struct Masked {
    /// The report that receives the events.
    pub(crate) outer: std::sync::Arc<dyn Report>,
    /// The secrets to mask.
    pub(crate) secrets: Secrets,
}

impl Report for Masked {
    fn emit(&self, file: Option<&str>, event: Event<'_>) {
        let hide = |text: &str| self.secrets.hide(text);
        let mut hidden = String::new();
        let mut put = |text: &str| hidden = hide(text);
        match event {
            Event::Notice(text) | Event::MonthEnded(text) | Event::Ended(_, _, text) => put(text),
            Event::TaskSaid { text, .. } => put(text),
            Event::TaskEnded { error, .. } => put(error.unwrap_or_default()),
            Event::Began(..) | Event::Failed(_) | Event::RangeBegan(_) | Event::TaskBegan { .. } => {}
        }
        let event = match event {
            Event::Notice(_) => Event::Notice(&hidden),
            Event::MonthEnded(_) => Event::MonthEnded(&hidden),
            Event::Ended(phase, took, _) => Event::Ended(phase, took, &hidden),
            Event::TaskSaid { task, level, .. } => Event::TaskSaid { task, level, text: &hidden },
            Event::TaskEnded { task, status, took, error } => {
                Event::TaskEnded { task, status, took, error: error.map(|_| hidden.as_str()) }
            }
            other => other,
        };
        self.outer.emit(file, event);
    }
}

/// Forwards the events of a subflow, under the name of the task that runs it.
pub(crate) struct Within {
    /// The report that receives the events.
    pub(crate) outer: std::sync::Arc<dyn Report>,
    /// The name of the task that runs the subflow.
    pub(crate) task: String,
}

impl Report for Within {
    fn emit(&self, file: Option<&str>, event: Event<'_>) {
        let (Event::TaskBegan { task, .. } | Event::TaskSaid { task, .. } | Event::TaskEnded { task, .. }) =
            event
        else {
            return self.outer.emit(file.or(Some(&self.task)), event);
        };
        let below = format!("{} > {task}", self.task);
        let event = match event {
            Event::TaskBegan { kind, .. } => Event::TaskBegan { task: &below, kind },
            Event::TaskSaid { level, text, .. } => Event::TaskSaid { task: &below, level, text },
            Event::TaskEnded { status, took, error, .. } => {
                Event::TaskEnded { task: &below, status, took, error }
            }
            other => other,
        };
        self.outer.emit(file, event);
    }
}
