//! The report as JSON lines, one object per line, for a log collector.

use std::io::Write as _;

use super::event::{Event, Report};
use super::log::Line;

/// Writes events to stderr as JSON lines.
#[derive(Debug, Default)]
pub(crate) struct JsonLines;

impl Report for JsonLines {
    fn emit(&self, file: Option<&str>, event: Event<'_>) {
        write(&Line::new(file, event));
    }
}

/// Writes one line to stderr.
pub(crate) fn write(line: &Line) {
    if let Ok(text) = serde_json::to_string(line) {
        // a load continues even if stderr is closed
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }
}
