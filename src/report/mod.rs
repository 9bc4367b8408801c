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
