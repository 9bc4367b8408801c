//! A run of a flow: runs its tasks and records their results, however the run ends.
//!
//! ```text
//! flow, inputs ─► begin ──────────► tasks ──────────────────────────► end
//!                 check, connect,   condition, attempts, timeout,      errors, finally,
//!                 record            outputs, record                    summary, record
//! ```

pub(crate) mod executor;
pub(crate) mod frame;
pub(crate) mod history;
pub(crate) mod record;
pub(crate) mod schedule;
pub(crate) mod subflow;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Zoned;
use minijinja::{Value as Data, context};
use serde::Serialize;
use serde_json::Value as Json;
use uuid::Uuid;

use super::context::RunContext;
use super::context::connection::Fault;
use super::context::databases::{Databases, keep_password};
use super::context::lock;
use super::context::storage::Storage;
use super::context::task_run::Outputs;
use super::expression::{Scope, data, dates};
use super::model::flow::Flow;
use super::model::inputs::Inputs;
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
    /// The trigger date of the run.
    pub(crate) trigger_date: Option<Zoned>,
    /// How long to wait for locks that other sessions hold.
    pub(crate) lock_timeout: Duration,
    /// Timeout and retry settings for the source.
    pub(crate) retry_policy: RetryPolicy,
    /// For a subflow, the id of the parent run and the nesting depth.
    pub(crate) part_of: Option<(Uuid, u32)>,
    /// Secrets to mask; a subflow shares the secrets of its caller.
    pub(crate) secrets: Secrets,
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
    /// The trigger date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trigger_date: Option<String>,
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
        let pairs = request.inputs.iter().map(|(name, value)| (name.clone(), value.clone().into()));
        Self {
            status: error.map_or(RunStatus::Skipped, RunStatus::of),
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

impl Execution {
    /// Checks the request, connects, and records the start of the run.
    pub(crate) async fn begin(
        request: Request,
        databases: Arc<Databases>,
        interrupt: &Interrupt,
        report: Arc<dyn Report>,
    ) -> Result<Self> {
        let flow = Arc::clone(&request.flow);
        if flow.disabled {
            let text = format!("the flow {} is disabled", flow.name());
            return Err(
                Error::new(Kind::Configuration, text).hint("set `disabled: false` in the flow to run it")
            );
        }
        let inputs = Inputs::resolve(&flow.inputs, &request.inputs)?;
        let secrets = request.secrets.clone();
        databases.keep_passwords(&secrets);
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
            let value = scope.fill(value).map_err(|diagnostic| flow.faults(vec![diagnostic]));
            labels.push((name.clone(), value.map_err(|error| without_secrets(error, &secrets))?));
        }
        labels.extend(request.labels.iter().cloned());
        let connecting = async {
            let phase = report.begin(Phase::Connect, None);
            let settings =
                databases.choose(|| declared_database(&flow, &scope, &secrets), report.as_ref()).await?;
            databases.keep_passwords(&secrets);
            let session = databases.connect(settings, SessionKind::Own, report.as_ref()).await?;
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
        let context = RunContext {
            flow: flow.name(),
            document: flow.document().clone(),
            folder: request.path.parent().unwrap_or(Path::new("")).to_owned(),
            run_id: run.id,
            inputs: inputs.into_pairs(),
            storage: Storage::create()?,
            databases,
            lock_timeout: request.lock_timeout,
            retry_policy: request.retry_policy,
            report,
            secrets,
            labels: Mutex::default(),
            loads: Mutex::default(),
            has_warned: AtomicBool::new(false),
        };
        labels.into_iter().for_each(|(name, value)| context.label(name, &value));
        run.labels = Some(context.labels());
        interrupt.or(history.begin(&run)).await?;
        Ok(Self {
            flow,
            context,
            depth: request.part_of.map_or(0, |(_, depth)| depth),
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
    pub(crate) async fn finish(mut self, interrupt: &Interrupt) -> (FlowSummary, Option<Error>) {
        let (flow, root) = (Arc::clone(&self.flow), Frame::root());
        let body = self.run_tasks(&flow.tasks, root, interrupt);
        let result = self.with_handlers(body, &flow.errors, &flow.finally, root, interrupt).await;
        let error = result.err().map(|error| without_secrets(error, &self.context.secrets));
        let status = match &error {
            Some(error) => RunStatus::of(error),
            None if self.context.has_warned() => RunStatus::Warning,
            None => RunStatus::Succeeded,
        };
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
            trigger_date: self.request.trigger_date.as_ref().map(dates::text),
            tasks: std::mem::take(&mut *lock(&self.records)),
            seconds: seconds(self.began.elapsed()),
            error: error.as_ref().map(Failure::of),
            loads: self.context.take_loads(),
        };
        (summary, error)
    }
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
