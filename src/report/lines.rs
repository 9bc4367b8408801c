//! The report if stderr is not a terminal: one line when a phase begins and one line when it ends. If the
//! command loads several files, one line per file, and with `--verbose` also one per phase.

use std::io::Write as _;

use super::LogDetail;
use super::event::{Event, Report};

/// Writes events to stderr as plain lines.
#[derive(Debug)]
pub(crate) struct PlainLines(pub(crate) LogDetail);

impl Report for PlainLines {
    fn emit(&self, file: Option<&str>, event: Event<'_>) {
        if let Some(text) = text(file, event, self.0) {
            // a load continues even if stderr is closed
            let _ = writeln!(std::io::stderr().lock(), "taxi: {text}");
        }
    }
}

/// The event as a line of text. `None` for events that the plain log does not show.
pub(crate) fn text(file: Option<&str>, event: Event<'_>, detail: LogDetail) -> Option<String> {
    let with_phases = detail == LogDetail::Phases;
    let text = match event {
        Event::Notice(text) => text.to_owned(),
        Event::Began(phase, _) if file.is_none() => format!("{} ...", phase.name()),
        Event::Ended(phase, took, detail) if file.is_none() || with_phases => {
            format!("{} {detail} ({:.1} s)", phase.name(), took.as_secs_f64())
        }
        Event::Failed(phase) if file.is_none() || with_phases => format!("{} failed", phase.name()),
        Event::MonthEnded(text) if file.is_some() => text.to_owned(),
        Event::MonthCancelled if with_phases => "cancelled".to_owned(),
        Event::TaskBegan { task, kind } if with_phases => return Some(format!("{task} ... ({kind})")),
        Event::TaskLogged { task, text, .. } => return Some(format!("{task}: {text}")),
        Event::TaskEnded { task, status, took, error } => {
            let took = took.as_secs_f64();
            // if the task fails the run, the error is printed at the end
            let reason =
                error.filter(|_| status == "warning").map(|error| format!(": {error}")).unwrap_or_default();
            return Some(format!("{task} {status} ({took:.1} s){reason}"));
        }
        Event::Began(..)
        | Event::Ended(..)
        | Event::Failed(_)
        | Event::RangeBegan(_)
        | Event::MonthEnded(_)
        | Event::MonthCancelled
        | Event::TaskBegan { .. } => return None,
    };
    Some(match file {
        Some(file) => format!("{file}: {text}"),
        None => text,
    })
}
