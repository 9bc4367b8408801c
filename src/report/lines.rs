//! The report if stderr is not a terminal: one line when a phase begins and one line when it ends. If the
//! command loads several files, one line per file.

use std::io::Write as _;

use super::event::{Event, Report};

/// Writes events to stderr as plain lines.
#[derive(Debug, Default)]
pub(crate) struct PlainLines;

impl Report for PlainLines {
    fn emit(&self, file: Option<&str>, event: Event<'_>) {
        if let Some(text) = text(file, event) {
            // a load continues even if stderr is closed
            let _ = writeln!(std::io::stderr().lock(), "taxi: {text}");
        }
    }
}

/// The event as a line of text. `None` for events that the plain log does not show.
pub(crate) fn text(file: Option<&str>, event: Event<'_>) -> Option<String> {
    match (event, file) {
        (Event::Notice(text), None) => Some(text.to_owned()),
        (Event::Notice(text) | Event::MonthEnded(text), Some(file)) => Some(format!("{file}: {text}")),
        (Event::Began(phase, _), None) => Some(format!("{} ...", phase.name())),
        (Event::Ended(phase, took, detail), None) => {
            Some(format!("{} {detail} ({:.1} s)", phase.name(), took.as_secs_f64()))
        }
        (Event::Failed(phase), None) => Some(format!("{} failed", phase.name())),
        (Event::TaskLogged { task, text, .. }, _) => Some(format!("{task}: {text}")),
        (Event::TaskEnded { task, status, took, error }, _) => {
            let took = took.as_secs_f64();
            // if the task fails the run, the error is printed at the end
            let reason =
                error.filter(|_| status == "warning").map(|error| format!(": {error}")).unwrap_or_default();
            Some(format!("{task} {status} ({took:.1} s){reason}"))
        }
        (Event::TaskBegan { .. }, _)
        | (Event::RangeBegan(_) | Event::MonthEnded(_), None)
        | (Event::Began(..) | Event::Ended(..) | Event::Failed(_) | Event::RangeBegan(_), Some(_)) => None,
    }
}
