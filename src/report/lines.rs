//! The report off a terminal: a line where a phase begins, and one where it ends.

use std::io::Write as _;

use super::{Event, Report};

/// Writes lines to stderr.
#[derive(Debug, Default)]
pub struct Lines;

impl Report for Lines {
    fn emit(&self, event: Event<'_>) {
        let mut stderr = std::io::stderr().lock();
        // a closed stderr is no reason to stop a load
        let _ = match event {
            Event::Notice(text) => writeln!(stderr, "taxi: {text}"),
            Event::Began(phase, _) => writeln!(stderr, "taxi: {} ...", phase.name()),
            Event::Ended(phase, took, detail) => {
                writeln!(stderr, "taxi: {} {detail} ({:.1} s)", phase.name(), took.as_secs_f64())
            }
            Event::Failed(phase) => writeln!(stderr, "taxi: {} failed", phase.name()),
        };
    }
}
