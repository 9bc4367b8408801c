//! Tests of flows, in the grammar of Kestra's unit tests.
//!
//! In: a test file and the flow that it tests. Out: the result of each assertion. Each test case runs the flow once.
//! A task with a fixture does not run, and the run history does not record the run.

pub(crate) mod assertion;
pub(crate) mod junit;
pub(crate) mod suite;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use minijinja::Value as Data;
use serde::Serialize;
use serde_json::Value as Json;
use tempfile::TempDir;

use crate::error::{Error, Kind, Result};
use crate::flow::context::databases::Databases;
use crate::flow::expression::Scope;
use crate::flow::model::flow::Flow;
use crate::flow::run::presets::Presets;
use crate::flow::run::{Execution, Request};
use crate::interrupt::Interrupt;
use crate::report::phase::seconds;
use crate::report::{Report, failure};
use assertion::Checked;
use suite::{Case, Fixtures, Suite};

/// The result of a test file.
#[derive(Debug, Serialize)]
pub(crate) struct SuiteResult {
    /// The file.
    pub(crate) file: String,
    /// The id of the tests.
    pub(crate) id: String,
    /// The flow's name, with its namespace.
    pub(crate) flow: String,
    /// The results of the test cases.
    pub(crate) cases: Vec<CaseResult>,
}

/// How a test case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CaseStatus {
    /// Every assertion holds.
    Succeeded,
    /// An assertion does not hold, or the flow failed.
    Failed,
    /// The test case is disabled.
    Skipped,
}

/// The result of a test case.
#[derive(Debug, Serialize)]
pub(crate) struct CaseResult {
    /// The id of the test case.
    pub(crate) id: String,
    /// How the test case ended.
    pub(crate) status: CaseStatus,
    /// The status of the flow's run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) flow_status: Option<&'static str>,
    /// The duration in seconds.
    pub(crate) seconds: f64,
    /// The results of the assertions.
    pub(crate) assertions: Vec<Checked>,
    /// Why the flow failed, if the test case does not expect it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

impl CaseResult {
    /// What is wrong: the failure of the flow, and the assertions that do not hold.
    pub(crate) fn faults(&self) -> impl Iterator<Item = &str> {
        let assertions = self.assertions.iter().filter_map(|checked| checked.error.as_deref());
        self.error.as_deref().into_iter().chain(assertions)
    }
}

/// Reads a test file and finds its flow: in the folder of the file, or in the folder above it.
pub(crate) fn read(path: &Path) -> Result<(Suite, Arc<Flow>, std::path::PathBuf)> {
    let text = std::fs::read_to_string(path).map_err(|cause| Error::file("read", path, cause))?;
    let suite = Suite::parse(&path.display().to_string(), &text)?;
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let find = |from: &Path| Flow::find_subflow(from, &suite.namespace, &suite.flow_id.0);
    let found = find(&absolute).or_else(|error| match absolute.parent() {
        Some(folder) => find(folder).map_err(|_| error),
        None => Err(error),
    });
    let (flow, flow_path) = found.map_err(|error| {
        Error::new(error.kind(), failure::plain(&error)).hint(
            "put the test file into the folder of the flow or into a folder there, and check the flow with \
             'taxi validate'",
        )
    })?;
    suite.check_against(&flow, &path.display().to_string(), &text)?;
    Ok((suite, Arc::new(flow), flow_path))
}

/// Runs a test case. The error is a signal.
pub(crate) async fn run(
    case: &Case,
    mut request: Request,
    databases: Arc<Databases>,
    interrupt: &Interrupt,
    report: Arc<dyn Report>,
) -> Result<CaseResult> {
    let began = Instant::now();
    let mut result = CaseResult {
        id: case.id.0.clone(),
        status: CaseStatus::Skipped,
        flow_status: None,
        seconds: 0.0,
        assertions: Vec::new(),
        error: None,
    };
    if case.disabled {
        return Ok(result);
    }
    let secrets = request.secrets.clone();
    let prepared = prepare(case.fixtures.as_ref(), &mut request);
    let outcome = match prepared {
        Ok(_folder) => Execution::begin(request, databases, interrupt, report).await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(mut execution) => {
            let (summary, error) = execution.finish(interrupt).await;
            if let Some(signal) = interrupt.raised() {
                return Err(signal);
            }
            let scope = execution.end_scope(summary.status);
            result.flow_status = Some(summary.status.name());
            result.assertions =
                case.assertions.iter().flat_map(|assertion| assertion.check(&scope, &secrets)).collect();
            let error = error.filter(|_| !case.expects_failure());
            result.error = error.map(|error| format!("the flow failed: {}", failure::plain(&error)));
        }
        Err(error) if error.kind().is_signal() => return Err(error),
        Err(error) => result.error = Some(secrets.hide(&failure::plain(&error))),
    }
    let holds = result.error.is_none() && result.assertions.iter().all(|checked| checked.success);
    result.status = if holds { CaseStatus::Succeeded } else { CaseStatus::Failed };
    result.seconds = seconds(began.elapsed());
    Ok(result)
}

/// Adds the fixtures to the request. The folder holds their files until the inputs are read.
fn prepare(fixtures: Option<&Fixtures>, request: &mut Request) -> Result<Option<TempDir>> {
    request.presets = Presets { is_test: true, ..Presets::default() };
    let Some(fixtures) = fixtures else { return Ok(None) };
    request.presets.results = fixtures.results(&request.flow);
    request.presets.files.clone_from(&fixtures.files.0);
    let mut scope = Scope::new(&request.secrets);
    let mut folder = None;
    if !fixtures.files.0.is_empty() {
        let io = |cause| Error::file("write files into", &std::env::temp_dir(), cause);
        let dir = tempfile::tempdir().map_err(io)?;
        let mut paths = Vec::new();
        for (index, (name, content)) in fixtures.files.0.iter().enumerate() {
            let path = dir.path().join(format!("{index}-{}", name.replace(['/', '\0'], "_")));
            std::fs::write(&path, content).map_err(|cause| Error::file("write", &path, cause))?;
            paths.push((name.clone(), path.display().to_string()));
        }
        scope = scope.with("files", Data::from_pairs(paths));
        folder = Some(dir);
    }
    let refuse = |what: &str, reason: String| {
        Error::new(Kind::Configuration, format!("cannot evaluate the fixture of {what}: {reason}"))
    };
    for (name, value) in &fixtures.inputs.0 {
        let value = value.fill(&scope).map_err(|reason| refuse(&format!("the input {name}"), reason))?;
        match value {
            Json::Null => {}
            Json::String(text) => request.inputs.push((name.clone(), text)),
            other => request.inputs.push((name.clone(), other.to_string())),
        }
    }
    if let Some(trigger) = &fixtures.trigger {
        let fill = |(name, value): &(String, suite::PresetValue)| Ok((name.clone(), value.fill(&scope)?));
        let variables = trigger.variables.0.iter().map(fill).collect::<Result<_, String>>();
        request.presets.trigger = Some(variables.map_err(|reason| refuse("the trigger", reason))?);
        request.trigger = Some(trigger.id.0.clone());
    }
    Ok(folder)
}
