//! Kestra: reads the lines of a task's stdout that begin with `::{` and end with `}::`.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::level_name;
use crate::report::log::Line;
use crate::report::output::{CommandOutput, write_line};
use crate::report::{Event, LogDetail, Report, failure, lines};

/// Writes events as log lines to stdout, because Kestra shows stderr as errors.
#[derive(Debug)]
pub(crate) struct KestraLines(pub(crate) LogDetail);

impl Report for KestraLines {
    fn emit(&self, file: Option<&str>, event: Event<'_>) {
        if let Some(text) = lines::text(file, event, self.0) {
            let level = match level_name(Line::new(file, event).level) {
                "WARNING" => "WARN",
                level => level,
            };
            // a closed stdout is reported when the result is written
            let _ = write_line(&marked(&json!({ "logs": [{ "level": level, "message": text }] })));
        }
    }
}

/// The lines of the result: outputs, metrics, and the error as a log line.
pub(crate) fn result(output: &CommandOutput) -> String {
    let mut metrics = Vec::new();
    for file in &output.files {
        let tags = json!({ "taxi": file.taxi, "filename": file.filename });
        let counters = [
            ("rows_read", file.rows.rows_read),
            ("rows_inserted", file.rows.rows_inserted),
            ("rows_matched", file.rows.rows_matched),
            ("rows_rejected", file.rows.rows_rejected),
            ("rows_deleted", file.rows.rows_deleted),
            ("bytes_downloaded", file.rows.downloaded_bytes),
        ];
        metrics.extend(
            counters.map(
                |(name, value)| json!({ "name": name, "type": "counter", "value": value, "tags": tags }),
            ),
        );
        metrics.push(json!({ "name": "duration", "type": "timer", "value": file.seconds, "tags": tags }));
    }
    // insert the JSON as text, to keep the order of the keys
    let mut text = format!("::{{\"outputs\":{}}}::", output.json);
    if !metrics.is_empty() {
        let _ = write!(text, "\n{}", marked(&json!({ "metrics": metrics })));
    }
    if let Some(error) = &output.error {
        let logs = json!({ "logs": [{ "level": "ERROR", "message": failure::plain(error) }] });
        let _ = write!(text, "\n{}", marked(&logs));
    }
    text
}

fn marked(value: &Value) -> String {
    format!("::{value}::")
}
