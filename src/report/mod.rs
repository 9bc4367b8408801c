//! What the user sees. The stages emit typed events; the renderers here only draw them.
//!
//! stdout is the result; stderr is progress, notices and errors.

pub mod failure;
pub mod json_lines;
pub mod lines;
pub mod loaded;
pub mod log;
pub mod output;
pub mod phase;
pub mod summary;
pub mod table;
pub mod terminal;

use std::io::IsTerminal as _;
use std::time::Duration;

use crate::secrets::Secrets;
use log::Level;
use phase::{Phase, Progress, Running};

/// What happens during a run.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// Something the user should know once.
    Notice(&'a str),
    /// A phase begins; `progress` counts what it streams, if it does.
    Began(Phase, Option<&'a Progress>),
    /// A phase is done, with what came of it.
    Ended(Phase, Duration, &'a str),
    /// A phase has failed; the error follows.
    Failed(Phase),
    /// So many files are to be loaded.
    RangeBegan(usize),
    /// One of them is done with, in words.
    MonthEnded(&'a str),
    /// A task of a flow begins.
    TaskBegan {
        /// Its name, with the values of the loops around it.
        task: &'a str,
        /// Its type.
        kind: &'a str,
    },
    /// A task of a flow has something to say.
    TaskSaid {
        /// Its name.
        task: &'a str,
        /// How much it matters.
        level: Level,
        /// What.
        text: &'a str,
    },
    /// A task of a flow has ended.
    TaskEnded {
        /// Its name.
        task: &'a str,
        /// How it stands.
        status: &'a str,
        /// How long it took.
        took: Duration,
        /// Why it failed, if it did.
        error: Option<&'a str>,
    },
}

/// Draws events.
pub trait Report: Send + Sync {
    /// Draws one, which is about the loading of `file` where there are several.
    fn emit(&self, file: Option<&str>, event: Event<'_>);
}

impl dyn Report + '_ {
    /// Begins a phase; what it returns ends it.
    pub fn begin(&self, phase: Phase, progress: Option<&Progress>) -> Running<'_> {
        self.emit(None, Event::Began(phase, progress));
        Running::new(self, phase)
    }

    /// Tells the user something.
    pub fn notice(&self, text: &str) {
        self.emit(None, Event::Notice(text));
    }
}

/// How the log on stderr is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Bars on a terminal, lines elsewhere.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Draws on stderr.
pub fn for_stderr(format: LogFormat) -> Box<dyn Report> {
    match format {
        LogFormat::Json => Box::new(json_lines::JsonLines),
        LogFormat::Text if std::io::stderr().is_terminal() => Box::new(terminal::Terminal::default()),
        LogFormat::Text => Box::new(lines::Lines),
    }
}

/// Draws nothing.
pub struct Quiet;

impl Report for Quiet {
    fn emit(&self, _: Option<&str>, _: Event<'_>) {}
}

/// Draws with each.
pub struct Several(pub Vec<Box<dyn Report>>);

impl Report for Several {
    fn emit(&self, file: Option<&str>, event: Event<'_>) {
        self.0.iter().for_each(|report| report.emit(file, event));
    }
}

/// Draws without what nobody is to see.
pub struct Masked {
    /// With this.
    pub outer: std::sync::Arc<dyn Report>,
    /// What that is.
    pub secrets: Secrets,
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

/// Draws what a flow says that is the task of another.
pub struct Within {
    /// With this.
    pub outer: std::sync::Arc<dyn Report>,
    /// The task.
    pub task: String,
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
