//! The result of a load: the same figures as a table for people and as one JSON object.

use std::time::Duration;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;
use uuid::Uuid;

use super::loaded::Loaded;
use super::phase::{Phases, seconds};

/// What a load did. `rows_read = rows_staged + rows_rejected`, `rows_staged = rows_inserted + rows_matched`.
#[derive(Debug, Serialize)]
pub struct Summary {
    status: &'static str,
    run_id: Uuid,
    taxi: String,
    filename: String,
    table: String,
    rows_read: u64,
    rows_staged: u64,
    rows_inserted: u64,
    rows_matched: u64,
    rows_rejected: u64,
    duplicate_keys: u64,
    bytes_downloaded: u64,
    bytes_csv: u64,
    sha256: String,
    phases: Phases,
    seconds: f64,
}

/// What the summary says besides the counts.
pub struct Heading {
    /// The run.
    pub run_id: Uuid,
    /// The `taxi` input.
    pub taxi: String,
    /// The file's name.
    pub filename: String,
    /// The target table.
    pub table: String,
}

impl Summary {
    /// The summary of a load that took `elapsed` in all.
    pub fn new(heading: Heading, loaded: Loaded, phases: Phases, elapsed: Duration) -> Self {
        Self {
            status: "loaded",
            run_id: heading.run_id,
            taxi: heading.taxi,
            filename: heading.filename,
            table: heading.table,
            rows_read: loaded.rows_read,
            rows_staged: loaded.rows_staged,
            rows_inserted: loaded.rows_inserted,
            rows_matched: loaded.rows_matched,
            rows_rejected: loaded.rows_rejected,
            duplicate_keys: loaded.duplicate_keys,
            bytes_downloaded: loaded.downloaded_bytes,
            bytes_csv: loaded.csv_bytes,
            sha256: loaded.sha256,
            phases,
            seconds: seconds(elapsed),
        }
    }

    /// The summary as a table.
    pub fn text(&self) -> String {
        let mut table = Table::new();
        table.load_style(NOTHING);
        for (name, count) in [
            ("rows read", self.rows_read),
            ("rows staged", self.rows_staged),
            ("rows inserted", self.rows_inserted),
            ("rows matched", self.rows_matched),
            ("rows rejected", self.rows_rejected),
            ("duplicate keys", self.duplicate_keys),
        ] {
            table.add_row([name.to_owned(), HumanCount(count).to_string()]);
        }
        table.add_row(["downloaded".to_owned(), HumanBytes(self.bytes_downloaded).to_string()]);
        table.add_row(["csv".to_owned(), HumanBytes(self.bytes_csv).to_string()]);
        for (phase, took) in self.phases.iter() {
            table.add_row([phase.name().replace('_', " "), format!("{:.3} s", took.as_secs_f64())]);
        }
        table.add_row(["in all".to_owned(), format!("{:.3} s", self.seconds)]);
        if let Some(column) = table.column_mut(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let table = table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n");
        format!("loaded {} into {} (run {})\n{table}", self.filename, self.table, self.run_id)
    }
}
