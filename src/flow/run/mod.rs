//! A run of a flow: runs its tasks and records their results, however the run ends.
//!
//! ```text
//! flow, inputs ─► begin ──────────► tasks ──────────────────────────► end
//!                 check, connect,   condition, attempts, timeout,      errors, finally,
//!                 record            outputs, record                    summary, record
//! ```

pub(crate) mod branch;
mod ending;
pub(crate) mod executor;
pub(crate) mod frame;
pub(crate) mod history;
pub(crate) mod needs;
pub(crate) mod parts;
pub(crate) mod presets;
pub(crate) mod record;
pub(crate) mod replay;
pub(crate) mod schedule;
pub(crate) mod subflow;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use jiff::Zoned;
use minijinja::value::Serde;
use minijinja::{Value as Data, context};
use serde::Serialize;
use serde_json::Value as Json;
use uuid::Uuid;

use super::context::RunContext;
use super::context::connection::Fault;
use super::context::databases::{Databases, keep_password};
use super::context::ending::ExitState;
use super::context::lock;
use super::context::runners::Runners;
use super::context::storage::Storage;
use super::context::task_run::Outputs;
use super::expression::library::Files;
use super::expression::{Scope, data, dates};
use super::model::flow::Flow;
use super::model::input_values::{Inputs, masked};
use crate::database::session::SessionKind;
use crate::database::settings::Settings;
use crate::error::{Error, Kind, Result};
use crate::extract::transfer::RetryPolicy;
use crate::interrupt::Interrupt;
use crate::ledger::RunStatus;
use crate::ledger::run::Run;
use crate::report::Report;
use crate::report::failure::{self, Failure};
use crate::report::forward::Masked;
use crate::report::log::{Log, RunReport};
use crate::report::phase::{Phase, seconds};
use crate::report::summary::FileSummary;
use crate::secrets::Secrets;
use frame::Frame;
use history::History;
use presets::Presets;
use record::TaskRecord;

/// A request to run a flow.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The flow.
    pub(crate) flow: Arc<Flow>,
    /// The flow's file; subflows and dbt projects are looked up relative to its folder.
    pub(crate) path: PathBuf,
    /// The given inputs.
    pub(crate) inputs: Vec<(String, String)>,
    /// The given labels.
    pub(crate) labels: Vec<(String, String)>,
    /// The id of the trigger that the flow runs for.
    pub(crate) trigger: Option<String>,
    /// The trigger date of the run.
    pub(crate) trigger_date: Option<Zoned>,
    /// How long to wait for locks that other sessions hold.
    pub(crate) lock_timeout: Duration,
    /// Timeout and retry settings for the source.
    pub(crate) retry_policy: RetryPolicy,
    /// Where the commands of tasks run.
    pub(crate) runners: Arc<Runners>,
    /// For a subflow, the run that calls it.
    pub(crate) part_of: Option<Caller>,
    /// Secrets to mask; a subflow shares the secrets of its caller.
    pub(crate) secrets: Secrets,
    /// What the run is given instead of computing it.
    pub(crate) presets: Presets,
}

/// The run that calls a subflow.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The id of the run.
    run: Uuid,
    /// The nesting depth of the subflow.
    depth: u32,
    /// The files of the run.
    storage: Arc<Storage>,
}

/// A running flow.
pub(crate) struct Execution {
    flow: Arc<Flow>,
    context: RunContext,
    request: Request,
    /// Nesting depth of subflows.
    depth: u32,
    scope: Scope,
    history: History,
    run: Run,
    began: Instant,
    outputs: Mutex<Outputs>,
    records: Mutex<Vec<TaskRecord>>,
}

/// The result of a run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FlowSummary {
    /// The final status.
    pub(crate) status: RunStatus,
    /// The id of the run; `None` if the run did not start.
    pub(crate) run_id: Option<Uuid>,
    /// The flow's name, with its namespace.
    pub(crate) flow: String,
    /// The inputs.
    pub(crate) inputs: serde_json::Map<String, Json>,
    /// The labels.
    pub(crate) labels: serde_json::Map<String, Json>,
    /// The outputs of the flow, with secrets masked.
    #[serde(skip_serializing_if = "Outputs::is_empty")]
    pub(crate) outputs: Outputs,
    /// The trigger date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trigger_date: Option<String>,
    /// The run that this run continues.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) replay_of: Option<Uuid>,
    /// The task runs, in the order in which they started.
    pub(crate) tasks: Vec<TaskRecord>,
    /// The duration in seconds.
    pub(crate) seconds: f64,
    /// The error, if the run failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<Failure>,
    /// The loads of the run's tasks and subflows.
    #[serde(skip)]
    pub(crate) loads: Vec<FileSummary>,
}

impl FlowSummary {
    /// The summary of a run that did not start.
    pub(crate) fn of(request: &Request, error: Option<&Error>) -> Self {
        let inputs = masked(&request.flow.inputs, &request.inputs, &request.secrets);
        let pairs = inputs.into_iter().map(|(name, value)| (name, value.into()));
        Self {
            status: error.map_or(RunStatus::Skipped, RunStatus::of),
            run_id: None,
            flow: request.flow.name(),
            inputs: pairs.collect(),
            labels: serde_json::Map::new(),
            outputs: Outputs::new(),
            trigger_date: request.trigger_date.as_ref().map(dates::text),
            replay_of: request.presets.replay_of,
            tasks: Vec::new(),
            seconds: 0.0,
            error: error.map(Failure::of),
            loads: Vec::new(),
        }
    }
}

impl Execution {
    /// Checks the request, connects, and records the start of the run.
    pub(crate) async fn begin(
        request: Request,
        databases: Arc<Databases>,
        interrupt: &Interrupt,
        report: Arc<dyn Report>,
    ) -> Result<Self> {
        let flow = Arc::clone(&request.flow);
        // a test may give the results of the tasks
        if !request.presets.is_test {
            interrupt.or(parts::check_runners(&flow, &request.runners, report.as_ref())).await?;
        }
        let secrets = request.secrets.clone();
        databases.keep_passwords(&secrets);
        let log = Log::default();
        let report: Arc<dyn Report> = Arc::new(Masked { outer: report, secrets: secrets.clone() });
        let report: Arc<dyn Report> = Arc::new(RunReport { outer: report, file: None, log: log.clone() });
        let mut run = Run::begin(flow.name(), Vec::new(), log);
        run.secrets = secrets.clone();
        run.part_of = request.part_of.as_ref().map(|caller| caller.run);
        run.trigger.clone_from(&request.trigger);
        run.trigger_date.clone_from(&request.trigger_date);
        run.replay_of = request.presets.replay_of;
        let scope = scope(&request, &run, &secrets)
            .with_functions(|environment| databases.key_values().clone().add_to(environment));
        let storage = match &request.part_of {
            Some(caller) => caller.storage.of_subflow()?,
            None => Storage::create()?,
        };
        let folder = request.path.parent().unwrap_or(Path::new("")).to_owned();
        scope.library.set_files(Files { folder: folder.clone(), stored: storage.files() });
        let mut inputs = resolve(&request, &scope).map_err(|error| without_secrets(error, &secrets))?;
        run.inputs = inputs.clone().into_pairs();
        inputs.store_files(|path| storage.import(path))?;
        let scope = scope.with("inputs", inputs.data());
        ending::check(&flow, &scope, report.as_ref()).map_err(|error| without_secrets(error, &secrets))?;
        let labels = labels(&request, &scope).map_err(|error| without_secrets(error, &secrets))?;
        let connecting = connect(&request, &databases, &scope, &mut run, &report);
        let history = interrupt.or(connecting).await.map_err(|error| without_secrets(error, &secrets))?;
        if let Some(concurrency) = &flow.concurrency {
            history
                .admit(&flow.name(), concurrency, request.lock_timeout, interrupt, report.as_ref())
                .await?;
        }
        let context = RunContext {
            flow: flow.name(),
            document: flow.document().clone(),
            folder,
            run_id: run.id,
            inputs: run.inputs.clone(),
            storage: Arc::new(storage),
            databases,
            runners: Arc::clone(&request.runners),
            lock_timeout: request.lock_timeout,
            retry_policy: request.retry_policy,
            report,
            secrets,
            labels: Mutex::default(),
            loads: Mutex::default(),
            has_warned: AtomicBool::new(false),
            end: OnceLock::new(),
        };
        let scope = request.presets.with_files(scope, &context.storage)?;
        labels.into_iter().for_each(|(name, value)| context.label(name, &value));
        run.labels = Some(context.labels());
        interrupt.or(history.begin(&run)).await?;
        Ok(Self {
            flow,
            context,
            depth: request.part_of.as_ref().map_or(0, |caller| caller.depth),
            request,
            scope,
            history,
            run,
            began: Instant::now(),
            outputs: Mutex::default(),
            records: Mutex::default(),
        })
    }

    /// Runs the tasks; returns the summary, and the error if the run failed.
    pub(crate) async fn finish(&mut self, interrupt: &Interrupt) -> (FlowSummary, Option<Error>) {
        let (flow, root) = (Arc::clone(&self.flow), Frame::root());
        let body = self.run_body(&flow, root, interrupt);
        let result = self.with_handlers(body, &flow.errors, &flow.finally, root, interrupt).await;
        // a signal comes before an end that a task has chosen
        let end = self.context.end.take().filter(|_| interrupt.raised().is_none());
        let result = match &end {
            Some(end) => end.result().map_err(|error| result.err().unwrap_or(error)),
            None => result,
        };
        if end.as_ref().is_some_and(|end| end.state == ExitState::Warning) {
            self.context.warn();
        }
        let (result, outputs) = match result.and_then(|()| self.flow_outputs(&flow)) {
            Ok(outputs) => (Ok(()), outputs),
            Err(error) => (Err(error), Outputs::new()),
        };
        let error = result.err().map(|error| without_secrets(error, &self.context.secrets));
        let status = match &error {
            Some(error) => end.map_or_else(|| RunStatus::of(error), |end| end.status(error)),
            None if self.context.has_warned() => RunStatus::Warning,
            None => RunStatus::Succeeded,
        };
        self.run_after(&flow, status, interrupt).await;
        let labels = self.context.labels();
        self.run.labels = Some(labels.clone());
        let report = self.context.report.as_ref();
        self.history.end(&self.run, status, error.as_ref(), interrupt, report).await;
        let pairs = |pairs: Vec<(String, String)>| {
            let masked =
                |(name, value): (String, String)| (name, Json::from(self.context.secrets.hide(&value)));
            pairs.into_iter().map(masked).collect()
        };
        let summary = FlowSummary {
            status,
            run_id: Some(self.run.id),
            flow: flow.name(),
            inputs: pairs(self.context.inputs.clone()),
            labels: pairs(labels),
            outputs,
            trigger_date: self.request.trigger_date.as_ref().map(dates::text),
            replay_of: self.request.presets.replay_of,
            tasks: std::mem::take(&mut *lock(&self.records)),
            seconds: seconds(self.began.elapsed()),
            error: error.as_ref().map(Failure::of),
            loads: self.context.take_loads(),
        };
        (summary, error)
    }
}

impl Execution {
    /// The variables after the run has ended with this status.
    pub(crate) fn end_scope(&self, status: RunStatus) -> Scope {
        // Kestra's names
        let state = match status {
            RunStatus::Succeeded => "SUCCESS",
            RunStatus::Warning => "WARNING",
            RunStatus::Cancelled => "KILLED",
            _ => "FAILED",
        };
        let start = dates::text_of(self.run.started_at);
        let execution = context! { id => self.run.id.to_string(), startDate => start, state => state };
        self.current_scope().with("execution", execution)
    }
}

/// Chooses the run's database and opens the run history in it. A test is not recorded, and chooses a database only if
/// one of its tasks needs it.
async fn connect(
    request: &Request,
    databases: &Databases,
    scope: &Scope,
    run: &mut Run,
    report: &Arc<dyn Report>,
) -> Result<History> {
    let (flow, secrets, is_test) = (&request.flow, &request.secrets, request.presets.is_test);
    if is_test && !request.presets.need_database(flow) {
        return Ok(History::unrecorded());
    }
    let phase = report.begin(Phase::Connect, None);
    let settings = databases.choose(|| declared_database(flow, scope, secrets), report.as_ref()).await?;
    databases.keep_passwords(secrets);
    if is_test {
        return Ok(History::unrecorded());
    }
    let session = databases.connect(settings, SessionKind::Own, report.as_ref()).await?;
    let history = History::open(settings, session.client).await?;
    if flow.mentions_keys() {
        databases.key_values().reset(history.keys().await?);
    }
    run.phases.end(phase, "done");
    Ok(history)
}

/// The inputs of the run, checked. Refuses a disabled flow.
pub(crate) fn resolve(request: &Request, scope: &Scope) -> Result<Inputs> {
    let flow = &request.flow;
    if flow.disabled {
        let text = format!("the flow {} is disabled", flow.name());
        return Err(Error::new(Kind::Configuration, text).hint("set `disabled: false` in the flow to run it"));
    }
    Inputs::resolve(&flow.inputs, &request.inputs, scope)
}

/// The labels of the flow, then those of the request.
pub(crate) fn labels(request: &Request, scope: &Scope) -> Result<Vec<(String, String)>> {
    let flow = &request.flow;
    let fill = |(name, value): &(String, _)| {
        let value = scope.fill(value).map_err(|diagnostic| flow.faults(vec![diagnostic]))?;
        Ok((name.clone(), value))
    };
    let mut labels = flow.labels.0.iter().map(fill).collect::<Result<Vec<_>>>()?;
    labels.extend(request.labels.iter().cloned());
    Ok(labels)
}

/// The database that the flow's tasks name, if they name exactly one.
fn declared_database(flow: &Flow, scope: &Scope, secrets: &Secrets) -> Result<Option<Settings>> {
    let mut connections = Vec::new();
    flow.walk(|task| {
        connections.extend(task.kind.connection().filter(|connection| connection.url.is_some()))
    });
    let mut declared: Option<Settings> = None;
    for connection in connections {
        let resolved = connection.resolve(scope);
        if let Ok(settings) = &resolved {
            keep_password(settings, secrets);
        }
        match resolved {
            Ok(settings) if declared.as_ref().is_some_and(|other| *other != settings) => return Ok(None),
            Ok(settings) => declared = Some(settings),
            // the connection depends on outputs that do not exist yet
            Err(Fault::Expression(_)) if connection.depends_on_tasks() => return Ok(None),
            Err(Fault::Expression(diagnostic)) => return Err(flow.faults(vec![diagnostic])),
            Err(Fault::Settings(error)) => return Err(error),
        }
    }
    Ok(declared)
}

/// The variables that are the same for all tasks of the run.
pub(crate) fn scope(request: &Request, run: &Run, secrets: &Secrets) -> Scope {
    let flow = &request.flow;
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let envs = Data::from_pairs(
        environment.filter_map(|(name, value)| Some((name.strip_prefix("ENV_")?.to_lowercase(), value))),
    );
    let scope = Scope::new(secrets)
        .with("vars", flow.variables.as_ref().map_or_else(|| context! {}, data))
        .with("flow", context! { id => flow.id.0.as_str(), namespace => flow.namespace.as_str() })
        .with("execution", context! { id => run.id.to_string(), startDate => dates::text_of(run.started_at) })
        .with("envs", envs)
        .with("labels", context! {})
        .with("outputs", context! {});
    match (&request.presets.trigger, &request.trigger_date) {
        (Some(variables), _) => scope.with("trigger", Data::from(Serde(variables))),
        (None, Some(date)) => scope.with("trigger", context! { date => dates::text(date) }),
        (None, None) => scope,
    }
}

/// Masks the secrets in an error's message and hint.
pub(crate) fn without_secrets(error: Error, secrets: &Secrets) -> Error {
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
