//! Runs a flow as a task of another flow.

use std::sync::Arc;

use serde_json::json;

use super::{Execution, Request};
use crate::error::{Error, Kind, Result};
use crate::flow::context::task_run::{Outputs, TaskRun};
use crate::flow::model::flow::Flow;
use crate::flow::tasks::flowable::Subflow;
use crate::ledger::RunStatus;
use crate::report::event::Level;
use crate::report::forward::Within;

/// Maximum nesting depth of subflows; it stops a flow that calls itself.
const DEPTH_LIMIT: u32 = 8;

/// Runs the flow on the caller's databases. The run is recorded as part of the caller's run.
pub(crate) async fn run(execution: &Execution, task: &Subflow, run: &TaskRun<'_>) -> Result<Outputs> {
    let context = run.context;
    let depth = execution.depth + 1;
    if depth > DEPTH_LIMIT {
        let text = format!("subflows are nested more than {DEPTH_LIMIT} levels deep");
        return Err(Error::new(Kind::Configuration, text).hint("check whether a flow calls itself"));
    }
    let (flow, path) = Flow::find_subflow(&execution.request.path, &task.namespace, &task.flow_id.0)?;
    let fill = |(name, value): &(String, _)| Ok((name.clone(), run.fill(value)?));
    let request = Request {
        flow: Arc::new(flow),
        path,
        inputs: task.inputs.0.iter().map(fill).collect::<Result<_>>()?,
        labels: task.labels.0.iter().map(fill).collect::<Result<_>>()?,
        trigger_date: execution.request.trigger_date.clone(),
        lock_timeout: context.lock_timeout,
        retry_policy: context.retry_policy,
        part_of: Some((context.run_id, depth)),
        secrets: context.secrets.clone(),
    };
    let name = request.flow.name();
    let report = Arc::new(Within { outer: run.reports(), task: run.name.to_owned() });
    let databases = Arc::clone(&context.databases);
    let child = Execution::begin(request, databases, &run.interrupt, report).await?;
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
    ];
    Ok(outputs.map(|(name, value)| (name.to_owned(), value)).into_iter().collect())
}
