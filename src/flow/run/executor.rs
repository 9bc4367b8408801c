//! Runs the tasks of a flow: their order, conditions, retries and timeouts.

use std::collections::HashSet;
use std::future::Future;
use std::time::Instant;

use futures_util::future::LocalBoxFuture;
use futures_util::stream::{self, FuturesUnordered, StreamExt as _};
use jiff::Timestamp;
use minijinja::value::Serde;
use minijinja::{Value as Data, context};
use serde_json::Value as Json;
use uuid::Uuid;

use super::branch::{self, Branch};
use super::frame::Frame;
use super::presets::PresetResult;
use super::record::{Attempt, TaskRecord};
use super::{Execution, parts, subflow, without_secrets};
use crate::error::{Detail, Error, Kind, Result};
use crate::flow::context::lock;
use crate::flow::context::task_run::{Outputs, TaskLog, TaskRun};
use crate::flow::expression::{Scope, dates};
use crate::flow::model::task::{Task, TaskType};
use crate::flow::tasks::flowable::{Dag, DagTask};
use crate::interrupt::Interrupt;
use crate::ledger::RunStatus;
use crate::report::event::Level;
use crate::report::{Event, failure};

/// One invocation of a task.
struct Invocation<'a> {
    task: &'a Task,
    frame: Frame<'a>,
    name: String,
    log: TaskLog,
}

impl Execution {
    /// Runs tasks one after another. Stops at the first failure.
    pub(crate) fn run_tasks<'a>(
        &'a self,
        tasks: &'a [Task],
        frame: Frame<'a>,
        interrupt: &'a Interrupt,
    ) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async move {
            for task in tasks {
                self.run_task(task, frame, interrupt).await?;
            }
            Ok(())
        })
    }

    /// Runs `body`, then the `errors` tasks if `body` failed, then the `finally` tasks in either case. After a
    /// signal, runs no more tasks.
    pub(crate) async fn with_handlers(
        &self,
        body: impl Future<Output = Result<()>>,
        errors: &[Task],
        finally: &[Task],
        frame: Frame<'_>,
        interrupt: &Interrupt,
    ) -> Result<()> {
        let result = body.await;
        // a signal is not the failure of a task, and the process has to exit soon
        if let Some(signal) = interrupt.raised() {
            return Err(signal);
        }
        if result.is_err()
            && let Err(error) = self.run_tasks(errors, frame, interrupt).await
            && interrupt.raised().is_none()
        {
            self.context.report.notice(&format!("the `errors` tasks also failed: {}", failure::line(&error)));
        }
        let finally = self.run_tasks(finally, frame, interrupt).await;
        match interrupt.raised() {
            Some(signal) => Err(signal),
            None => result.and(finally),
        }
    }

    async fn run_task(&self, task: &Task, frame: Frame<'_>, interrupt: &Interrupt) -> Result<()> {
        if let Some(signal) = interrupt.raised() {
            return Err(signal);
        }
        if task.common.disabled || self.context.has_ended() {
            return Ok(());
        }
        let name = self.context.secrets.hide(&frame.name(task.id()));
        let invocation = Invocation { task, frame, name, log: TaskLog::default() };
        let began = Instant::now();
        let mut record = invocation.record();
        record.value = record.value.map(|value| self.context.secrets.hide(&value));
        let preset = self.request.presets.result(task.id(), &frame);
        let should_run = match preset.is_some_and(PresetResult::is_recorded) {
            true => Ok(true),
            false => self.should_run(&invocation, &record, interrupt),
        };
        let outcome = match (should_run, preset) {
            (Ok(true), Some(preset)) => {
                let run = self.task_run(&invocation, &record, interrupt.clone());
                self.take(preset, &run, &frame.path(), &mut record, interrupt).await
            }
            (Ok(true), None) => {
                lock(&self.records).push(record.clone());
                self.history.task(self.run.id, &record, interrupt, self.context.report.as_ref()).await;
                self.context
                    .report
                    .emit(None, Event::TaskBegan { task: &invocation.name, kind: task.kind.name() });
                self.run_with_retries(&invocation, &mut record, began, interrupt).await
            }
            (Ok(false), _) => Ok(RunStatus::Skipped),
            (Err(error), _) => Err(error),
        };
        self.end_task(&invocation, record, outcome, began, interrupt).await
    }

    /// Records how the task ended. The error fails the flow.
    async fn end_task(
        &self,
        invocation: &Invocation<'_>,
        mut record: TaskRecord,
        outcome: Result<RunStatus>,
        began: Instant,
        interrupt: &Interrupt,
    ) -> Result<()> {
        let task = invocation.task;
        let (status, error) = match outcome {
            Ok(status) => (status, None),
            Err(error) => {
                let error = without_secrets(invocation.named(error), &self.context.secrets);
                let may_fail = task.common.allow_failure || matches!(task.kind, TaskType::AllowFailure(_));
                let is_allowed = may_fail && interrupt.raised().is_none();
                (if is_allowed { RunStatus::Warning } else { RunStatus::of(&error) }, Some(error))
            }
        };
        if status == RunStatus::Warning && !task.common.allow_warning {
            self.context.warn();
        }
        record.status = status;
        record.error_kind = error.as_ref().map(|error| error.kind().name());
        record.error = error.as_ref().map(failure::plain);
        if let Some(message) = &record.error {
            self.scope.library.add_error(task.id(), message);
        }
        record.finished_at = Some(Timestamp::now());
        record.log = invocation.log.lines();
        let parts = parts::of(&record, invocation.log.take_parts());
        self.history.task(self.run.id, &record, interrupt, self.context.report.as_ref()).await;
        let event = Event::TaskEnded {
            task: &invocation.name,
            status: status.name(),
            took: began.elapsed(),
            error: record.error.as_deref(),
        };
        self.context.report.emit(None, event);
        {
            let mut records = lock(&self.records);
            match records.iter_mut().find(|other| other.task_run_id == record.task_run_id) {
                Some(running) => *running = record,
                None => records.push(record),
            }
        }
        self.record_parts(parts, interrupt).await;
        match error {
            Some(error) if status != RunStatus::Warning => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether the task's `runIf` condition is true. A task without a condition always runs.
    fn should_run(
        &self,
        invocation: &Invocation<'_>,
        record: &TaskRecord,
        interrupt: &Interrupt,
    ) -> Result<bool> {
        let Some(condition) = &invocation.task.common.run_if else { return Ok(true) };
        self.task_run(invocation, record, interrupt.clone()).is_true(condition)
    }

    /// Runs the task until it succeeds, or until its retry policy allows no further attempt.
    async fn run_with_retries(
        &self,
        invocation: &Invocation<'_>,
        record: &mut TaskRecord,
        began: Instant,
        interrupt: &Interrupt,
    ) -> Result<RunStatus> {
        let common = &invocation.task.common;
        let is_flowable = invocation.task.kind.flowable().is_some();
        // the flow's retry policy does not apply to tasks that only run other tasks
        let retry = common.retry.as_ref().or(self.flow.retry.as_ref().filter(|_| !is_flowable));
        loop {
            let started_at = Timestamp::now();
            let mut run = self.task_run(invocation, record, interrupt.clone());
            let timeout = common.timeout.as_ref().map(|timeout| run.resolve(timeout)).transpose()?;
            if let Some(limit) = timeout {
                run.interrupt = interrupt.limited(limit);
            }
            let outcome = self.run_attempt(invocation, &run, record.task_run_id, interrupt).await;
            let error = match outcome {
                Ok(outputs) => {
                    record.attempts.push(Attempt { started_at, finished_at: Timestamp::now(), error: None });
                    self.store_outputs(invocation.task.id(), &invocation.frame.path(), &outputs);
                    record.outputs = self.masked(outputs);
                    let retried = record.attempts.len() > 1;
                    let warns = retried && retry.is_some_and(|retry| retry.warning_on_retry);
                    let warns = invocation.log.take_warning() || warns;
                    return Ok(if warns { RunStatus::Warning } else { RunStatus::Succeeded });
                }
                Err(error) => error,
            };
            invocation.log.take_warning();
            let error = match (interrupt.raised(), run.interrupt.raised(), timeout) {
                (Some(signal), ..) => signal,
                (None, Some(_), Some(limit)) => {
                    Error::new(Kind::TimedOut, format!("the task exceeded its timeout of {limit:?}"))
                }
                _ => error,
            };
            let message = self.context.secrets.hide(&failure::plain(&error));
            record.attempts.push(Attempt {
                started_at,
                finished_at: Timestamp::now(),
                error: Some(message.clone()),
            });
            let attempts = u32::try_from(record.attempts.len()).unwrap_or(u32::MAX);
            let may_retry = interrupt.raised().is_none() && !self.context.has_ended();
            let wait = retry.filter(|_| may_retry).and_then(|retry| retry.wait(attempts, began));
            let Some(wait) = wait else { return Err(error) };
            run.log(Level::Warning, &format!("attempt {attempts} failed, retrying in {wait:?}: {message}"));
            interrupt.sleep(wait).await?;
            // the record has the parts of the last attempt
            drop(invocation.log.take_parts());
        }
    }

    /// Runs one attempt. The timeout applies to the task's children, but not to its `errors` and `finally` tasks.
    async fn run_attempt(
        &self,
        invocation: &Invocation<'_>,
        run: &TaskRun<'_>,
        task_run: Uuid,
        outer: &Interrupt,
    ) -> Result<Outputs> {
        let kind = &invocation.task.kind;
        match (kind.flowable(), kind) {
            (None, TaskType::Subflow(task)) => subflow::run(self, task, run).await,
            (None, TaskType::ForEachItem(task)) => subflow::run_for_each_item(self, task, run).await,
            (None, kind) => kind.run(run).await,
            (Some(flowable), kind) => {
                let shared = match kind {
                    TaskType::WorkingDirectory(task) => Some((task, task.open(run)?)),
                    _ => None,
                };
                let below = invocation.frame.below(task_run);
                let below = shared.as_ref().map_or(below, |(_, folder)| below.within(folder.path()));
                let mut outputs = Outputs::new();
                let body = async {
                    self.run_children(kind, invocation.frame, below, run, task_run).await?;
                    if let Some((task, folder)) = &shared {
                        outputs = task.outputs(run, folder)?;
                    }
                    Ok(())
                };
                self.with_handlers(body, flowable.errors(), flowable.finally(), below, outer).await?;
                Ok(outputs)
            }
        }
    }

    /// Runs the children of a flowable task.
    async fn run_children(
        &self,
        kind: &TaskType,
        frame: Frame<'_>,
        below: Frame<'_>,
        run: &TaskRun<'_>,
        task_run: Uuid,
    ) -> Result<()> {
        let interrupt = &run.interrupt;
        let decision = branch::decide(kind, &run.scope);
        match decision.map_err(|diagnostic| run.diagnostic(diagnostic))? {
            Some(Branch::Sequence { tasks, .. }) => self.run_tasks(tasks, below, interrupt).await,
            Some(Branch::Parallel { tasks, limit }) => {
                let each = tasks.iter().map(std::slice::from_ref);
                run_concurrently(each.map(|task| self.run_tasks(task, below, interrupt)), limit).await
            }
            Some(Branch::Graph(dag)) => self.run_dag(dag, below, interrupt).await,
            Some(Branch::Loop { values, tasks, limit }) => {
                let iterations: Vec<Frame<'_>> = values
                    .iter()
                    .enumerate()
                    .map(|(index, value)| frame.iteration(task_run, value, index))
                    .collect();
                let runs = iterations.iter().map(|frame| self.run_tasks(tasks, *frame, interrupt));
                run_concurrently(runs, limit).await
            }
            None => Ok(()),
        }
    }

    /// Runs each task of a Dag task when those that it depends on have ended. After one has failed, no further task
    /// starts.
    async fn run_dag(&self, dag: &Dag, below: Frame<'_>, interrupt: &Interrupt) -> Result<()> {
        let limit = if dag.concurrent == 0 { usize::MAX } else { dag.concurrent as usize };
        let mut waiting: Vec<&DagTask> = dag.tasks.iter().collect();
        let (mut done, mut running, mut outcome) = (HashSet::new(), FuturesUnordered::new(), Ok(()));
        loop {
            while outcome.is_ok()
                && running.len() < limit
                && let Some(index) = Dag::ready(&waiting, &done)
            {
                let task = &waiting.remove(index).task;
                running.push(async move {
                    (task.id(), self.run_tasks(std::slice::from_ref(task), below, interrupt).await)
                });
            }
            let Some((id, result)) = running.next().await else { return outcome };
            done.insert(id);
            outcome = outcome.and(result);
        }
    }

    /// Stores the outputs under the task's id, where expressions find them. Inside loops, the values of the loops
    /// are nested keys under the id.
    pub(super) fn store_outputs(&self, task_id: &str, values: &[&str], outputs: &Outputs) {
        let mut all = lock(&self.outputs);
        let mut slot = all.entry(task_id).or_insert_with(|| Json::Object(Outputs::new()));
        for value in values {
            let Json::Object(below) = slot else { return };
            slot = below.entry(*value).or_insert_with(|| Json::Object(Outputs::new()));
        }
        *slot = Json::Object(outputs.clone());
    }

    /// The outputs without secrets, for the record.
    pub(super) fn masked(&self, outputs: Outputs) -> Outputs {
        match self.context.secrets.hide_in(&Json::Object(outputs)) {
            Json::Object(outputs) => outputs,
            _ => Outputs::new(),
        }
    }

    /// The variables at this moment, apart from those of a task.
    pub(crate) fn current_scope(&self) -> Scope {
        let outputs = Data::from(Serde(&*lock(&self.outputs)));
        self.scope.clone().with("labels", Data::from_pairs(self.context.labels())).with("outputs", outputs)
    }

    fn task_run<'a>(
        &'a self,
        invocation: &'a Invocation<'_>,
        record: &TaskRecord,
        interrupt: Interrupt,
    ) -> TaskRun<'a> {
        let (value, iteration) = invocation.frame.values().next().unzip();
        let taskrun = context! {
            id => record.task_run_id.to_string(),
            startDate => dates::text_of(record.started_at),
            attemptsCount => record.attempts.len(),
            parentId => record.parent_id.map(|id| id.to_string()),
            value => value,
            iteration => iteration,
        };
        let task = context! { id => invocation.task.id(), type => invocation.task.kind.name() };
        let scope = self.current_scope().with("task", task).with("taskrun", taskrun);
        let parents = invocation.frame.parents();
        let scope = match parents.first() {
            Some(parent) => scope.with("parent", parent.clone()).with("parents", parents),
            None => scope,
        };
        TaskRun {
            context: &self.context,
            scope,
            interrupt,
            name: &invocation.name,
            log: &invocation.log,
            log_level: invocation.task.common.log_level.map_or(Level::Info, Level::from),
            shared_dir: invocation.frame.shared_dir(),
        }
    }
}

impl Invocation<'_> {
    fn record(&self) -> TaskRecord {
        TaskRecord {
            task_run_id: Uuid::now_v7(),
            parent_id: self.frame.task_run,
            task_id: self.task.id().to_owned(),
            task_type: self.task.kind.name().to_owned(),
            value: self.frame.values().next().map(|(value, _)| value.to_owned()),
            status: RunStatus::Running,
            attempts: Vec::new(),
            outputs: Outputs::new(),
            error_kind: None,
            error: None,
            started_at: Timestamp::now(),
            finished_at: None,
            log: Vec::new(),
        }
    }

    /// Adds the task's name to the error, unless a child task has already added its name or the error is a signal.
    fn named(&self, error: Error) -> Error {
        if error.kind().is_signal() || error.detail() == Some(Detail::NamesTask) {
            return error;
        }
        error.within(format!("the task {} failed", self.name)).with_detail(Detail::NamesTask)
    }
}

/// Runs futures concurrently, at most `limit` at a time; 0 means no limit. After one has failed, no further future
/// starts.
async fn run_concurrently<'a>(
    runs: impl Iterator<Item = LocalBoxFuture<'a, Result<()>>>,
    limit: u32,
) -> Result<()> {
    let limit = if limit == 0 { usize::MAX } else { limit as usize };
    let failed = std::cell::Cell::new(false);
    let runs = runs.map(|run| {
        let failed = &failed;
        async move {
            if failed.get() {
                return Ok(());
            }
            let result = run.await;
            failed.set(failed.get() || result.is_err());
            result
        }
    });
    let results: Vec<Result<()>> = stream::iter(runs).buffer_unordered(limit).collect().await;
    results.into_iter().collect()
}
