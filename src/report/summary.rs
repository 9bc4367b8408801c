//! The result of a load: the same counts as a table for people and as one JSON object.

use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;
use uuid::Uuid;

use super::failure::Failure;
use super::load_counts::LoadCounts;
use super::table;
use super::timeline::Timeline;
use crate::error::{Error, Kind};

/// The outcome of loading a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// The file's rows are in the target now.
    Loaded,
    /// The file's rows were in the target already.
    Skipped,
    /// The source does not have the file, perhaps not yet.
    NotPublished,
    /// The load failed and changed nothing, unless the connection was lost after the server had committed.
    Failed,
    /// A signal ended the load; nothing was changed.
    Cancelled,
    /// The load did not start, because other loads had failed or a signal arrived.
    NotBegun,
}

impl Outcome {
    /// The outcome of a run that ended with `error`.
    pub(crate) fn of(error: &Error) -> Self {
        match error.kind() {
            Kind::NotPublished => Self::NotPublished,
            kind if kind.is_signal() => Self::Cancelled,
            _ => Self::Failed,
        }
    }

    /// The outcome in words, for people.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::Skipped => "already loaded",
            Self::NotPublished => "not published",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::NotBegun => "not started",
        }
    }
}

/// The result of loading a file. `rows_read = rows_staged + rows_rejected`, `rows_staged = rows_inserted +
/// rows_matched`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FileSummary {
    /// The outcome of the load.
    pub(crate) status: Outcome,
    /// The run; for a skipped file, the run that loaded it.
    pub(crate) run_id: Option<Uuid>,
    /// The `taxi` input.
    pub(crate) taxi: String,
    /// The file's name.
    pub(crate) filename: String,
    /// The target table.
    pub(crate) table: String,
    /// The counts; all zero if nothing was loaded.
    #[serde(flatten)]
    pub(crate) rows: LoadCounts,
    /// The phases that ended, with their durations.
    pub(crate) phases: Timeline,
    /// How long the load took.
    pub(crate) seconds: f64,
    /// The error, if the load failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<Failure>,
}

impl FileSummary {
    /// The summary as a table.
    pub(crate) fn text(&self) -> String {
        let run = self.run_id.map(|run| format!(" (run {run})")).unwrap_or_default();
        if self.status != Outcome::Loaded {
            return format!("{} is {} in {}{run}", self.filename, self.status.words(), self.table);
        }
        let counts = [
            ("rows read", self.rows.rows_read),
            ("rows staged", self.rows.rows_staged),
            ("rows inserted", self.rows.rows_inserted),
            ("rows matched", self.rows.rows_matched),
            ("rows rejected", self.rows.rows_rejected),
            ("rows deleted", self.rows.rows_deleted),
            ("duplicate keys", self.rows.duplicate_keys),
        ];
        let mut rows: Vec<[String; 2]> =
            counts.map(|(name, count)| [name.to_owned(), HumanCount(count).to_string()]).into();
        rows.push(["downloaded".to_owned(), HumanBytes(self.rows.downloaded_bytes).to_string()]);
        let csv = Some(self.rows.csv_bytes).filter(|bytes| *bytes > 0);
        rows.extend(csv.map(|bytes| ["csv".to_owned(), HumanBytes(bytes).to_string()]));
        let phases = self.phases.iter();
        rows.extend(
            phases.map(|(phase, took)| {
                [phase.name().replace('_', " "), format!("{:.3} s", took.as_secs_f64())]
            }),
        );
        rows.push(["total".to_owned(), format!("{:.3} s", self.seconds)]);
        let table = table::text(None, rows, &[1]);
        let rejected = match (self.rows.rows_rejected, self.run_id) {
            (1.., Some(run)) => format!("\nuse 'taxi runs show {run}' to list the rejected rows"),
            _ => String::new(),
        };
        format!("loaded {} into {}{run}\n{table}{rejected}", self.filename, self.table)
    }

    /// The summary in one line, without the file's name.
    pub(crate) fn line(&self) -> String {
        match (&self.error, self.status) {
            (_, Outcome::Loaded) => {
                let rejected = match self.rows.rows_rejected {
                    0 => String::new(),
                    rejected => format!(", {} rejected", HumanCount(rejected)),
                };
                format!(
                    "{} rows inserted, {} matched{rejected} ({:.1} s)",
                    HumanCount(self.rows.rows_inserted),
                    HumanCount(self.rows.rows_matched),
                    self.seconds
                )
            }
            (Some(error), Outcome::Failed) => {
                format!("failed: {}", error.message.lines().next().unwrap_or_default())
            }
            (_, status) => status.words().to_owned(),
        }
    }
}
