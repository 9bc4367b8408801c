//! The parts of a task that have a result of their own: each becomes a task run below the task's own. Also checks,
//! before a run begins, whether its commands have a place to run.

use uuid::Uuid;

use super::Execution;
use super::record::{Attempt, TaskRecord};
use crate::error::Result;
use crate::flow::context::lock;
use crate::flow::context::runners::Runners;
use crate::flow::context::task_run::{Outputs, Part};
use crate::flow::model::flow::Flow;
use crate::interrupt::Interrupt;
use crate::ledger::RunStatus;
use crate::report::Report;

impl Execution {
    /// Adds the parts to the run's record.
    pub(super) async fn record_parts(&self, parts: Vec<TaskRecord>, interrupt: &Interrupt) {
        for part in &parts {
            self.history.task(self.run.id, part, interrupt, self.context.report.as_ref()).await;
        }
        lock(&self.records).extend(parts);
    }
}

/// The records of a task's parts.
pub(super) fn of(task: &TaskRecord, parts: Vec<Part>) -> Vec<TaskRecord> {
    let record = |part: Part| TaskRecord {
        task_run_id: Uuid::now_v7(),
        parent_id: Some(task.task_run_id),
        task_id: part.name,
        task_type: task.task_type.clone(),
        value: None,
        status: part.status,
        attempts: vec![Attempt {
            started_at: part.started_at,
            finished_at: part.finished_at,
            error: part.error.clone(),
        }],
        outputs: Outputs::new(),
        error_kind: (part.status == RunStatus::Failed).then(|| crate::error::Kind::TaskFailed.name()),
        error: part.error,
        started_at: part.started_at,
        finished_at: Some(part.finished_at),
        log: Vec::new(),
    };
    parts.into_iter().map(record).collect()
}

/// Checks that a container engine answers if a task needs one. A flow should not fail at its last task because of
/// this.
pub(super) async fn check_runners(flow: &Flow, runners: &Runners, report: &dyn Report) -> Result<()> {
    let mut scripts = Vec::new();
    flow.walk(|task| scripts.extend(task.kind.script().filter(|_| !task.common.disabled)));
    if scripts.iter().any(|options| options.declared_container() == Some(true)) {
        runners.notice_processes(report);
    }
    match scripts.iter().any(|options| options.needs_container(runners)) {
        true => runners.engine().await.map(drop),
        false => Ok(()),
    }
}
