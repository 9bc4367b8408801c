//! What dbt says of its results: each node of a run becomes a part of the task.

use std::path::Path;

use jiff::Timestamp;
use serde::Deserialize;

use crate::error::{Error, Kind, Result};
use crate::flow::context::task_run::{Part, TaskRun};
use crate::ledger::RunStatus;

/// dbt's `run_results.json`.
#[derive(Deserialize)]
struct RunResults {
    results: Vec<NodeResult>,
}

/// The result of a model, a test, a seed or a snapshot.
#[derive(Deserialize)]
struct NodeResult {
    unique_id: String,
    status: String,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    timing: Vec<Timing>,
}

#[derive(Deserialize)]
struct Timing {
    started_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
}

impl NodeResult {
    fn part(self) -> Part {
        let status = match self.status.as_str() {
            "success" | "pass" => RunStatus::Succeeded,
            "warn" => RunStatus::Warning,
            "skipped" | "no-op" => RunStatus::Skipped,
            _ => RunStatus::Failed,
        };
        let now = Timestamp::now();
        let is_bad = matches!(status, RunStatus::Failed | RunStatus::Warning);
        Part {
            name: self.unique_id,
            status,
            error: is_bad.then(|| self.message.unwrap_or(self.status)),
            started_at: self.timing.iter().filter_map(|timing| timing.started_at).min().unwrap_or(now),
            finished_at: self.timing.iter().filter_map(|timing| timing.completed_at).max().unwrap_or(now),
        }
    }
}

/// Adds the results in `file` to the task.
pub(super) fn add(run: &TaskRun<'_>, file: &Path) -> Result<()> {
    let text = std::fs::read_to_string(file).map_err(|cause| Error::file("read", file, cause))?;
    let results: RunResults = serde_json::from_str(&text).map_err(|cause| {
        Error::new(Kind::TaskFailed, format!("cannot read dbt's results in {}", file.display()))
            .because(cause)
    })?;
    results.results.into_iter().for_each(|result| run.add_part(result.part()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_the_times_and_the_status_of_its_result() {
        let text = r#"{"results": [
            {"unique_id": "test.p.a", "status": "fail", "message": "Got 2 results", "timing": [
                {"name": "compile", "started_at": "2026-01-02T03:04:05.5Z", "completed_at": "2026-01-02T03:04:06Z"},
                {"name": "execute", "started_at": "2026-01-02T03:04:06Z", "completed_at": "2026-01-02T03:04:08Z"}]},
            {"unique_id": "model.p.b", "status": "skipped", "message": null, "timing": []},
            {"unique_id": "test.p.c", "status": "warn", "timing": []},
            {"unique_id": "model.p.d", "status": "success", "message": "SELECT 1", "timing": []}]}"#;
        let results: RunResults = serde_json::from_str(text).unwrap();
        let parts: Vec<Part> = results.results.into_iter().map(NodeResult::part).collect();
        let seen: Vec<(RunStatus, Option<&str>)> =
            parts.iter().map(|part| (part.status, part.error.as_deref())).collect();
        let expected = [
            (RunStatus::Failed, Some("Got 2 results")),
            (RunStatus::Skipped, None),
            (RunStatus::Warning, Some("warn")),
            (RunStatus::Succeeded, None),
        ];
        assert_eq!(seen, expected);
        assert_eq!(parts[0].started_at.to_string(), "2026-01-02T03:04:05.5Z");
        assert_eq!(parts[0].finished_at.to_string(), "2026-01-02T03:04:08Z");
    }
}
