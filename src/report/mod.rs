//! What the user sees. The stages emit typed events; the renderers here only draw them.
//!
//! stdout is the result; stderr is progress, notices and errors.

pub mod failure;
pub mod lines;
pub mod loaded;
pub mod output;
pub mod phase;
pub mod summary;
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
}

/// Draws events.
pub trait Report: Send + Sync {
    /// Draws one.
    fn emit(&self, event: Event<'_>);
}

impl dyn Report + '_ {
    /// Begins a phase; what it returns ends it.
    pub fn begin(&self, phase: Phase, progress: Option<&Progress>) -> Running<'_> {
        self.emit(Event::Began(phase, progress));
        Running::new(self, phase)
    }

    /// Tells the user something.
    pub fn notice(&self, text: &str) {
        self.emit(Event::Notice(text));
    }
}

/// Bars on a terminal, lines elsewhere.
pub fn for_stderr() -> Box<dyn Report> {
    if std::io::stderr().is_terminal() {
        Box::new(terminal::Terminal::default())
    } else {
        Box::new(lines::Lines)
    }
}
