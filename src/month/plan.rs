//! A plan: the file that one run loads, with all values filled in.

use super::job::Job;
use crate::report::load_counts::LoadCounts;
use crate::report::summary::{FileSummary, Outcome};
use crate::report::timeline::Timeline;

/// A run that has not begun.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The pipeline's name, including its namespace.
    pub(crate) pipeline: String,
    /// The taxi type; empty if the pipeline has no input of that name.
    pub(crate) taxi: String,
    /// The input values.
    pub(crate) inputs: Vec<(String, String)>,
    /// The SQL file that creates the target table if it is missing.
    pub(crate) table_sql: Option<String>,
    /// The file to load.
    pub(crate) job: Job,
}

impl Plan {
    /// The summary of this plan before it is run.
    pub(crate) fn summary(&self) -> FileSummary {
        FileSummary {
            status: Outcome::NotBegun,
            run_id: None,
            taxi: self.taxi.clone(),
            filename: self.job.filename.clone(),
            table: self.job.table.to_string(),
            rows: LoadCounts::default(),
            phases: Timeline::default(),
            seconds: 0.0,
            error: None,
        }
    }
}
