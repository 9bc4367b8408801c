//! A run of a flow: runs its tasks and records their results, however the run ends.
//!
//! ```text
//! flow, inputs ─► begin ──────────► tasks ──────────────────────────► end
//!                 check, connect,   condition, attempts, timeout,      errors, finally,
//!                 record            outputs, record                    summary, record
//! ```

pub mod databases;
pub mod frame;
pub mod history;
pub mod schedule;
pub mod storage;
pub mod subflow;
pub mod task_run;
pub mod tasks;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Zoned;
use minijinja::{Value as Data, context};
use serde::Serialize;
use serde_json::Value as Json;
use uuid::Uuid;

use super::expression::{Scope, data, dates};
use super::flow::Flow;
use super::inputs::Inputs;
use crate::error::{Error, Kind, Result};
use crate::extract::transfer::Patience;
use crate::interrupt::Interrupt;
use crate::ledger::Status;
use crate::ledger::run::Run;
use crate::report::failure::{self, Failure};
use crate::report::log::{Log, RunReport};
use crate::report::phase::{Phase, seconds};
use crate::report::{Masked, Report, summary};
use crate::secrets::Secrets;
use databases::Databases;
use frame::Frame;
use history::History;
use storage::Storage;
use task_run::{Outputs, Record, State};

/// A request to run a flow.
#[derive(Clone, Debug)]
pub struct Request {
    /// The flow.
    pub flow: Arc<Flow>,
    /// The flow's file; subflows and dbt projects are looked up relative to its folder.
    pub path: PathBuf,
    /// The given inputs.
    pub inputs: Vec<(String, String)>,
    /// The given labels.
    pub labels: Vec<(String, String)>,
    /// The trigger date of the run.
    pub trigger_date: Option<Zoned>,
    /// How long to wait for locks held by others.
    pub lock_timeout: Duration,
    /// Timeout and retry settings for the source.
    pub patience: Patience,
    /// For a subflow, the id of the parent run and the nesting depth.
    pub part_of: Option<(Uuid, u32)>,
    /// Secrets to mask; a subflow shares those of its caller.
    pub secrets: Secrets,
}

/// A running flow.
pub struct Execution {
    /// The flow.
    pub flow: Arc<Flow>,
    /// The inputs.
    pub inputs: Inputs,
    /// The id of the run.
    pub run_id: Uuid,
    /// The run's files.
    pub storage: Storage,
    /// The run's databases.
    pub databases: Arc<Databases>,
    /// How long to wait for locks held by others.
    pub lock_timeout: Duration,
    /// Timeout and retry settings for the source.
    pub patience: Patience,
    request: Request,
    depth: u32,
    report: Arc<dyn Report>,
    secrets: Secrets,
    scope: Scope,
    history: History,
    run: Mutex<Run>,
    began: Instant,
    labels: Mutex<Vec<(String, String)>>,
    outputs: Mutex<Outputs>,
    records: Mutex<Vec<Record>>,
    loads: Mutex<Vec<summary::Summary>>,
    has_warned: AtomicBool,
}

/// The result of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The final status.
    pub status: State,
    /// The id of the run; `None` if it did not start.
    pub run_id: Option<Uuid>,
    /// The flow's name, with its namespace.
    pub flow: String,
    /// The inputs.
    pub inputs: serde_json::Map<String, Json>,
    /// The labels.
    pub labels: serde_json::Map<String, Json>,
    /// The trigger date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trigger_date: Option<String>,
    /// The task runs, in the order in which they started.
    pub tasks: Vec<Record>,
    /// The duration in seconds.
    pub seconds: f64,
    /// The error, if it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// The loads by its tasks and by its subflows.
    #[serde(skip)]
    pub loads: Vec<summary::Summary>,
}

impl Summary {
    /// The summary of a run that did not start.
    pub fn of(request: &Request, error: Option<&Error>) -> Self {
        let pairs = request.inputs.iter().map(|(name, value)| (name.clone(), value.clone().into()));
        Self {
            status: error.map_or(State::Skipped, state_of),
            run_id: None,
            flow: request.flow.name(),
            inputs: pairs.collect(),
            labels: serde_json::Map::new(),
            trigger_date: request.trigger_date.as_ref().map(dates::text),
            tasks: Vec::new(),
            seconds: 0.0,
            error: error.map(Failure::of),
            loads: Vec::new(),
        }
    }
}

/// The status of a task run or run that ended with `error`.
fn state_of(error: &Error) -> State {
    match error.kind() {
        Kind::Interrupted | Kind::Terminated => State::Cancelled,
        _ => State::Failed,
    }
}

impl Execution {
    /// Checks the request, connects, and records the start of the run.
    pub async fn begin(
        request: Request,
        databases: Arc<Databases>,
        interrupt: &Interrupt,
        report: Arc<dyn Report>,
    ) -> Result<Self> {
        let flow = Arc::clone(&request.flow);
        if flow.disabled {
            let text = format!("the flow {} is disabled", flow.name());
            return Err(Error::new(Kind::Configuration, text).hint("disabled: false lets it run"));
        }
        let inputs = Inputs::resolve(&flow.inputs, &request.inputs)?;
        let secrets = request.secrets.clone();
        let log = Log::default();
        let report: Arc<dyn Report> = Arc::new(Masked { outer: report, secrets: secrets.clone() });
        let report: Arc<dyn Report> = Arc::new(RunReport { outer: report, file: None, log: log.clone() });
        let mut run = Run::begin(flow.name(), inputs.clone().into_pairs(), log);
        run.secrets = secrets.clone();
        run.part_of = request.part_of.map(|(run, _)| run);
        run.trigger_date = request.trigger_date.as_ref().map(Zoned::timestamp);
        let scope = scope(&request, &inputs, &run, &secrets);
        let mut labels = Vec::new();
        for (name, value) in &flow.labels.0 {
            let filled = scope.fill(value).map_err(|diagnostic| flow.faults(vec![diagnostic]));
            let filled = filled.map_err(|error| without_secrets(error, &secrets))?;
            set(&mut labels, name.clone(), filled);
        }
        for (name, value) in &request.labels {
            set(&mut labels, name.clone(), value.clone());
        }
        labels.iter_mut().for_each(|(_, value)| *value = secrets.hide(value));
        run.labels = Some(labels.clone());
        let connecting = async {
            let phase = report.begin(Phase::Connect, None);
            let settings = databases.choose(&flow, &scope, report.as_ref()).await?;
            let session = databases.connect(settings).await?;
            let history = History::open(settings, session.client).await?;
            run.phases.end(phase, "done");
            Ok(history)
        };
        let history = interrupt.or(connecting).await.map_err(|error| without_secrets(error, &secrets))?;
        if let Some(concurrency) = &flow.concurrency {
            history
                .admit(&flow.name(), concurrency, request.lock_timeout, interrupt, report.as_ref())
                .await?;
        }
        let storage = Storage::create()?;
        interrupt.or(history.begin(&run)).await?;
        Ok(Self {
            inputs,
            run_id: run.id,
            storage,
            databases,
            lock_timeout: request.lock_timeout,
            patience: request.patience,
            depth: request.part_of.map_or(0, |(_, depth)| depth),
            request,
            flow,
            report,
            secrets,
            scope,
            history,
            run: Mutex::new(run),
            began: Instant::now(),
            labels: Mutex::new(labels),
            outputs: Mutex::default(),
            records: Mutex::default(),
            loads: Mutex::default(),
            has_warned: AtomicBool::new(false),
        })
    }

    /// Runs the tasks; returns the summary, and the error if the run failed.
    pub async fn finish(self, interrupt: &Interrupt) -> (Summary, Option<Error>) {
        let (flow, root) = (Arc::clone(&self.flow), Frame::root());
        let body = self.run_tasks(&flow.tasks, root, interrupt);
        let ended = self.with_ends(body, &flow.errors, &flow.finally, root, interrupt).await;
        let error = ended.err().map(|error| without_secrets(error, &self.secrets));
        let warned = self.has_warned.load(Ordering::Relaxed);
        let (status, state) = match &error {
            Some(error) => (Status::of(error), state_of(error)),
            None if warned => (Status::Warning, State::Warning),
            None => (Status::Succeeded, State::Succeeded),
        };
        let labels = lock(&self.labels).clone();
        let run = {
            let mut run = lock(&self.run);
            run.labels = Some(labels.clone());
            run.clone()
        };
        self.history.end(&run, status, error.as_ref(), interrupt, self.report.as_ref()).await;
        let pairs = |pairs: Vec<(String, String)>| {
            pairs.into_iter().map(|(name, value)| (name, Json::from(self.secrets.hide(&value)))).collect()
        };
        let summary = Summary {
            status: state,
            run_id: Some(self.run_id),
            flow: flow.name(),
            inputs: pairs(self.inputs.clone().into_pairs()),
            labels: pairs(labels),
            trigger_date: self.request.trigger_date.as_ref().map(dates::text),
            tasks: std::mem::take(&mut *lock(&self.records)),
            seconds: seconds(self.began.elapsed()),
            error: error.as_ref().map(Failure::of),
            loads: std::mem::take(&mut *lock(&self.loads)),
        };
        (summary, error)
    }

    /// The secrets to mask.
    pub fn secrets(&self) -> Secrets {
        self.secrets.clone()
    }

    /// Marks the run as ending with a warning.
    pub fn warn(&self) {
        self.has_warned.store(true, Ordering::Relaxed);
    }

    /// Adds loads to the summary.
    pub fn loaded(&self, loads: impl IntoIterator<Item = summary::Summary>) {
        lock(&self.loads).extend(loads);
    }

    /// Sets a label.
    pub fn label(&self, name: String, value: String) {
        set(&mut lock(&self.labels), name, self.secrets.hide(&value));
    }

    /// The folder of the flow's file.
    pub fn folder(&self) -> &Path {
        self.request.path.parent().unwrap_or(Path::new(""))
    }
}

/// The variables that are the same for all tasks of the run.
fn scope(request: &Request, inputs: &Inputs, run: &Run, secrets: &Secrets) -> Scope {
    let flow = &request.flow;
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let envs = Data::from_pairs(
        environment.filter_map(|(name, value)| Some((name.strip_prefix("ENV_")?.to_lowercase(), value))),
    );
    let scope = Scope::new(secrets)
        .with("inputs", inputs.data())
        .with("vars", flow.variables.as_ref().map_or_else(|| context! {}, data))
        .with("flow", context! { id => flow.id.0.as_str(), namespace => flow.namespace.as_str() })
        .with("execution", context! { id => run.id.to_string(), startDate => dates::text_of(run.started_at) })
        .with("envs", envs)
        .with("labels", context! {})
        .with("outputs", context! {});
    match &request.trigger_date {
        Some(date) => scope.with("trigger", context! { date => dates::text(date) }),
        None => scope,
    }
}

/// Masks the secrets in an error's message and hint.
fn without_secrets(error: Error, secrets: &Secrets) -> Error {
    let text = failure::plain(&error);
    let hidden = secrets.hide(&text);
    if text == hidden {
        return error;
    }
    let masked = Error::new(error.kind(), hidden);
    match error.advice() {
        Some(hint) => masked.hint(secrets.hide(hint)),
        None => masked,
    }
}

fn set(labels: &mut Vec<(String, String)>, name: String, value: String) {
    labels.retain(|(known, _)| *known != name);
    labels.push((name, value));
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
