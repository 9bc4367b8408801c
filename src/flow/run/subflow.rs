//! Runs a flow as a task of another flow.

use std::sync::Arc;

use minijinja::Value as Data;
use serde_json::json;

use super::presets::Presets;
use super::{Caller, Execution, Request};
use crate::error::{Error, Kind, Result};
use crate::flow::context::task_run::{Outputs, TaskRun};
use crate::flow::expression::{Scope, Template};
use crate::flow::model::flow::Flow;
use crate::flow::tasks::calls::{Call, ForEachItem, Subflow};
use crate::ledger::RunStatus;
use crate::report::event::Level;
use crate::report::forward::Within;

/// Maximum nesting depth of subflows; it stops a flow that calls itself.
const DEPTH_LIMIT: u32 = 8;

/// Runs the flow of a Subflow task.
pub(crate) async fn run(execution: &Execution, task: &Subflow, run: &TaskRun<'_>) -> Result<Outputs> {
    call(execution, &task.call, &run.scope, run).await
}

/// Runs the flow of a ForEachItem task once for each batch, in the order of the file. The inputs see the path of the
/// batch as `taskrun.items`, and its number as `taskrun.iteration`.
pub(crate) async fn run_for_each_item(
    execution: &Execution,
    task: &ForEachItem,
    run: &TaskRun<'_>,
) -> Result<Outputs> {
    let batches = task.batches(run)?;
    for (index, batch) in batches.iter().enumerate() {
        let items = [("items", Data::from(batch.display().to_string())), ("iteration", Data::from(index))];
        call(execution, &task.call, &run.scope.clone().with_entries("taskrun", items), run).await?;
    }
    Ok(Outputs::from_iter([("numberOfBatches".to_owned(), json!(batches.len()))]))
}

/// Runs a flow on the caller's databases. The run is recorded as part of the caller's run.
async fn call(execution: &Execution, task: &Call, scope: &Scope, run: &TaskRun<'_>) -> Result<Outputs> {
    let context = run.context;
    let depth = execution.depth + 1;
    if depth > DEPTH_LIMIT {
        let text = format!("subflows are nested more than {DEPTH_LIMIT} levels deep");
        return Err(Error::new(Kind::Configuration, text).hint("check whether a flow calls itself"));
    }
    let fill = |template: &Template| scope.fill(template).map_err(|diagnostic| run.diagnostic(diagnostic));
    let fill_pair = |(name, value): &(String, Template)| Ok((name.clone(), fill(value)?));
    let (namespace, id) = (fill(&task.namespace)?, fill(&task.flow_id)?);
    let (flow, path) = Flow::find_subflow(&execution.request.path, &namespace, &id)?;
    flow.note_lines().for_each(|note| run.log(Level::Info, &note));
    let mut labels = if task.inherit_labels { context.labels() } else { Vec::new() };
    labels.extend(task.labels.0.iter().map(fill_pair).collect::<Result<Vec<_>>>()?);
    let request = Request {
        flow: Arc::new(flow),
        path,
        inputs: task.inputs.0.iter().map(fill_pair).collect::<Result<_>>()?,
        labels,
        trigger: None,
        trigger_date: execution.request.trigger_date.clone(),
        lock_timeout: context.lock_timeout,
        retry_policy: context.retry_policy,
        runners: Arc::clone(&context.runners),
        part_of: Some(Caller { run: context.run_id, depth, storage: Arc::clone(&context.storage) }),
        secrets: context.secrets.clone(),
        presets: Presets { is_test: execution.request.presets.is_test, ..Presets::default() },
    };
    let name = request.flow.name();
    let report = Arc::new(Within { outer: run.reports(), task: run.name.to_owned() });
    let databases = Arc::clone(&context.databases);
    let mut child = Execution::begin(request, databases, &run.interrupt, report).await?;
    let (mut summary, error) = child.finish(&run.interrupt).await;
    context.add_loads(std::mem::take(&mut summary.loads));
    if summary.status == RunStatus::Warning {
        context.warn();
        run.log(Level::Warning, &format!("the flow {name} ended with a warning"));
    }
    if let Some(error) = error
        && (task.transmit_failed || summary.status == RunStatus::Cancelled)
    {
        return Err(error.within(format!("the flow {name} failed")));
    }
    let outputs = [
        ("executionId", json!(summary.run_id.map(|id| id.to_string()))),
        ("state", json!(summary.status.name())),
        ("outputs", json!(summary.outputs)),
    ];
    Ok(outputs.map(|(name, value)| (name.to_owned(), value)).into_iter().collect())
}
