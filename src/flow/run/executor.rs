//! Runs the tasks of a flow: their order, conditions, retries and timeouts.

use std::future::Future;
use std::time::Instant;

use futures_util::future::LocalBoxFuture;
use futures_util::stream::{self, StreamExt as _};
use jiff::Timestamp;
use minijinja::value::Serde;
use minijinja::{Value as Data, context};
use serde_json::Value as Json;
use uuid::Uuid;

use super::frame::Frame;
use super::record::{Attempt, TaskRecord};
use super::{Execution, subflow, without_secrets};
use crate::error::{Detail, Error, Kind, Result};
use crate::flow::context::lock;
use crate::flow::context::task_run::{Outputs, TaskLog, TaskRun};
use crate::flow::expression::dates;
use crate::flow::model::task::{Task, TaskType};
use crate::flow::tasks::flowable::ForEach;
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
        if task.common.disabled {
            return Ok(());
        }
        let name = self.context.secrets.hide(&frame.name(task.id()));
        let invocation = Invocation { task, frame, name, log: TaskLog::default() };
        let began = Instant::now();
        let mut record = invocation.record();
        record.value = record.value.map(|value| self.context.secrets.hide(&value));
        let outcome = match self.should_run(&invocation, &record, interrupt) {
            Ok(true) => {
                lock(&self.records).push(record.clone());
                self.history.task(self.run.id, &record, interrupt, self.context.report.as_ref()).await;
                self.context
                    .report
                    .emit(None, Event::TaskBegan { task: &invocation.name, kind: task.kind.name() });
                self.run_with_retries(&invocation, &mut record, began, interrupt).await
            }
            Ok(false) => Ok(RunStatus::Skipped),
            Err(error) => Err(error),
        };
        let (status, error) = match outcome {
            Ok(status) => (status, None),
            Err(error) => {
                let error = without_secrets(invocation.named(error), &self.context.secrets);
                let is_allowed = task.common.allow_failure && interrupt.raised().is_none();
                (if is_allowed { RunStatus::Warning } else { RunStatus::of(&error) }, Some(error))
            }
        };
        if status == RunStatus::Warning {
            self.context.warn();
        }
        record.status = status;
        record.error_kind = error.as_ref().map(|error| error.kind().name());
        record.error = error.as_ref().map(failure::plain);
        record.finished_at = Some(Timestamp::now());
        record.log = invocation.log.lines();
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
            let limited = common.timeout.map_or_else(|| interrupt.clone(), |limit| interrupt.limited(limit));
            let run = self.task_run(invocation, record, limited);
            let outcome = self.run_attempt(invocation, &run, record.task_run_id, interrupt).await;
            let error = match outcome {
                Ok(outputs) => {
                    record.attempts.push(Attempt { started_at, finished_at: Timestamp::now(), error: None });
                    self.store_outputs(invocation, &outputs);
                    if let Json::Object(outputs) = self.context.secrets.hide_in(&Json::Object(outputs)) {
                        record.outputs = outputs;
                    }
                    let retried = record.attempts.len() > 1;
                    let warns = retried && retry.is_some_and(|retry| retry.warning_on_retry);
                    return Ok(if warns { RunStatus::Warning } else { RunStatus::Succeeded });
                }
                Err(error) => error,
            };
            let error = match (interrupt.raised(), run.interrupt.raised(), common.timeout) {
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
            let wait =
                retry.filter(|_| interrupt.raised().is_none()).and_then(|retry| retry.wait(attempts, began));
            let Some(wait) = wait else { return Err(error) };
            run.log(Level::Warning, &format!("attempt {attempts} failed, retrying in {wait:?}: {message}"));
            interrupt.sleep(wait).await?;
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
        let Some(flowable) = invocation.task.kind.flowable() else {
            return self.run_kind(&invocation.task.kind, run).await;
        };
        let below = invocation.frame.below(task_run);
        let interrupt = &run.interrupt;
        let body = async {
            match &invocation.task.kind {
                TaskType::If(task) => {
                    let tasks = if run.is_true(&task.condition)? { &task.then } else { &task.otherwise };
                    self.run_tasks(tasks, below, interrupt).await
                }
                TaskType::Switch(task) => {
                    self.run_tasks(task.case(&run.fill(&task.value)?), below, interrupt).await
                }
                TaskType::Sequential(task) => self.run_tasks(&task.tasks, below, interrupt).await,
                TaskType::Parallel(task) => {
                    let runs = task
                        .tasks
                        .iter()
                        .map(|task| self.run_tasks(std::slice::from_ref(task), below, interrupt));
                    run_concurrently(runs, task.concurrent).await
                }
                TaskType::ForEach(task) => self.run_for_each(task, invocation.frame, run, task_run).await,
                _ => Ok(()),
            }
        };
        self.with_handlers(body, flowable.errors(), flowable.finally(), below, outer).await?;
        Ok(Outputs::new())
    }

    /// Runs a task that is not flowable, and returns its outputs.
    async fn run_kind(&self, kind: &TaskType, run: &TaskRun<'_>) -> Result<Outputs> {
        match kind {
            TaskType::Log(task) => task.run(run),
            TaskType::Return(task) => task.run(run),
            TaskType::Labels(task) => task.run(run),
            TaskType::Fail(task) => task.run(run),
            TaskType::Sleep(task) => task.run(run).await,
            TaskType::PurgeFiles(task) => task.run(run),
            TaskType::Download(task) => task.run(run).await,
            TaskType::Shell(task) => task.run(run).await,
            TaskType::Dbt(task) => task.run(run).await,
            TaskType::Query(task) => task.run(run).await,
            TaskType::Queries(task) => task.run(run).await,
            TaskType::CopyIn(task) => task.run(run).await,
            TaskType::CopyOut(task) => task.run(run).await,
            TaskType::CreateTables(task) => task.run(run).await,
            TaskType::LoadCsv(task) => task.run(run).await,
            TaskType::Subflow(task) => subflow::run(self, task, run).await,
            TaskType::If(_)
            | TaskType::Switch(_)
            | TaskType::Sequential(_)
            | TaskType::Parallel(_)
            | TaskType::ForEach(_) => {
                Err(Error::new(Kind::Internal, "a flowable task only runs other tasks"))
            }
        }
    }

    async fn run_for_each(
        &self,
        task: &ForEach,
        frame: Frame<'_>,
        run: &TaskRun<'_>,
        task_run: Uuid,
    ) -> Result<()> {
        let values = task.values.resolve(&run.scope).map_err(|diagnostic| run.diagnostic(diagnostic))?;
        let iterations: Vec<Frame<'_>> =
            values.iter().enumerate().map(|(index, value)| frame.iteration(task_run, value, index)).collect();
        let runs = iterations.iter().map(|iteration| self.run_tasks(&task.tasks, *iteration, &run.interrupt));
        run_concurrently(runs, task.concurrency_limit).await
    }

    /// Stores the outputs under the task's id, where expressions find them. Inside loops, the values of the loops
    /// are nested keys under the id.
    fn store_outputs(&self, invocation: &Invocation<'_>, outputs: &Outputs) {
        let mut all = lock(&self.outputs);
        let mut values: Vec<&str> = invocation.frame.values().map(|(value, _)| value).collect();
        values.reverse();
        let mut slot = all.entry(invocation.task.id()).or_insert_with(|| Json::Object(Outputs::new()));
        for value in values {
            let Json::Object(below) = slot else { return };
            slot = below.entry(value).or_insert_with(|| Json::Object(Outputs::new()));
        }
        *slot = Json::Object(outputs.clone());
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
        let labels = Data::from_pairs(self.context.labels());
        let outputs = Data::from(Serde(&*lock(&self.outputs)));
        let task = context! { id => invocation.task.id(), type => invocation.task.kind.name() };
        let scope = self.scope.clone().with("labels", labels).with("outputs", outputs).with("task", task);
        let scope = scope.with("taskrun", taskrun);
        let parents = invocation.frame.parents();
        let scope = match parents.first() {
            Some(parent) => scope.with("parent", parent.clone()).with("parents", parents),
            None => scope,
        };
        TaskRun { context: &self.context, scope, interrupt, name: &invocation.name, log: &invocation.log }
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
