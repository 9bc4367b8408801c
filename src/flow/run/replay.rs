//! Continues an earlier run of a flow from one of its tasks: the tasks before it do not run, and their recorded
//! outputs are taken over.
//!
//! In: the flow, the task, the earlier run as the ledger records it. Out: the request for the new run. Refused: a
//! task that has no result, and an output that the new run needs and that the ledger does not hold: a secret, or a
//! file of the earlier run.

use std::collections::HashSet;

use serde_json::Value as Json;
use tokio_postgres::Client;

use super::needs::Needs;
use super::presets::{Iterations, PresetOutputs, PresetResult};
use super::{Request, declared_database, scope};
use crate::database::session::SessionKind;
use crate::database::settings::Settings;
use crate::error::{Error, Kind, Result};
use crate::flow::context::databases::Databases;
use crate::flow::context::task_run::Outputs;
use crate::flow::model::input_values::Inputs;
use crate::flow::model::task::{Task, TaskType};
use crate::ledger::RunStatus;
use crate::ledger::history::{RecordedRun, RecordedTask};
use crate::ledger::run::Run;
use crate::report::Report;
use crate::report::log::Log;
use crate::secrets;

/// Opens the database that holds the run history of the flow.
pub(crate) async fn open_history(
    request: &Request,
    databases: &Databases,
    report: &dyn Report,
) -> Result<(Settings, Client)> {
    let flow = &request.flow;
    let declared = || {
        // the earlier run has the inputs, and its database is not known yet
        let optional = flow.inputs.iter().cloned().map(|mut input| {
            input.required = false;
            input
        });
        let run = Run::begin(flow.name(), Vec::new(), Log::default());
        let scope = scope(request, &run, &request.secrets);
        let inputs = Inputs::resolve(&optional.collect::<Vec<_>>(), &request.inputs, &scope)?;
        let scope = scope.with("inputs", inputs.data());
        declared_database(flow, &scope, &request.secrets)
            .map_err(|error| error.hint("use --database-url to name the database of the run history"))
    };
    databases.keep_passwords(&request.secrets);
    let settings = databases.choose(declared, report).await?;
    databases.keep_passwords(&request.secrets);
    let session = databases.connect(settings, SessionKind::Own, report).await?;
    Ok((settings.clone(), session.client))
}

/// The request for a run that continues the `earlier` run from the task `from`. Inputs and labels of the request come
/// on top of those of the earlier run.
pub(crate) fn continued(mut request: Request, from: &str, earlier: &RecordedRun) -> Result<Request> {
    let name = request.flow.name();
    let refuse = |text: String| Error::new(Kind::Usage, text);
    if earlier.pipeline != name {
        let text = format!("the run {} is a run of {}, not of {name}", earlier.run_id, earlier.pipeline);
        return Err(refuse(text));
    }
    if earlier.status == RunStatus::Running.name() {
        return Err(refuse(format!("the run {} is still in progress", earlier.run_id)));
    }
    let Some(hidden_inputs) = &earlier.hidden_inputs else {
        let text = format!("an older version of taxi recorded the run {}", earlier.run_id);
        return Err(refuse(text).hint("run the whole flow: the run history lacks what a replay needs"));
    };
    request.inputs = inputs(&request, earlier, hidden_inputs)?;
    let labels = earlier.labels.as_ref().and_then(Json::as_object).into_iter().flatten();
    let labels = labels.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
    request.labels.splice(0..0, labels);
    if let Some(trigger) = &earlier.trigger {
        (request.trigger, request.trigger_date) = (trigger.id.clone(), Some(trigger.date.clone()));
    }
    let plan = Plan { flow_tasks: &request.flow.tasks, from, earlier, needs: Needs::default() };
    let mut kept = Vec::new();
    if !request.flow.tasks.iter().any(|task| contains(task, from)) {
        return Err(refuse(format!("no task with the id {from:?} in the tasks of the flow {name}"))
            .hint("use 'taxi show' to list the tasks; a run cannot continue in `errors` or `finally`"));
    }
    plan.keep(&request.flow.tasks, &[], true, &mut kept)?;
    // in a loop, a task may run in other iterations
    let without: HashSet<&str> =
        kept.iter().filter(|result| !result.is_in_loop()).map(|result| result.task_id.as_str()).collect();
    let plan = Plan { needs: Needs::of(request.flow.document(), &without), ..plan };
    kept.iter().try_for_each(|result| plan.check(result, &result.task_id))?;
    request.presets.results = kept;
    request.presets.replay_of = Some(earlier.run_id);
    Ok(request)
}

/// The inputs of the earlier run, then those of the request.
fn inputs(request: &Request, earlier: &RecordedRun, hidden: &[String]) -> Result<Vec<(String, String)>> {
    let mut inputs = Vec::new();
    for (name, value) in earlier.inputs.as_object().into_iter().flatten() {
        let is_declared = request.flow.inputs.iter().any(|input| input.id.0 == *name);
        let is_given = request.inputs.iter().any(|(given, _)| given == name);
        if hidden.contains(name) && is_declared && !is_given {
            let text = format!("the run history does not hold the secret in the input {name:?}");
            return Err(
                Error::new(Kind::Usage, text).hint(format!("give the value again with --input {name}=VALUE"))
            );
        }
        inputs.extend(value.as_str().filter(|_| is_declared).map(|value| (name.clone(), value.to_owned())));
    }
    inputs.extend(request.inputs.iter().cloned());
    Ok(inputs)
}

/// Whether the id is the task's or that of a task below it.
fn contains(task: &Task, id: &str) -> bool {
    let mut found = false;
    task.walk(&mut |task| found |= task.id() == id);
    found
}

struct Plan<'a> {
    flow_tasks: &'a [Task],
    from: &'a str,
    earlier: &'a RecordedRun,
    needs: Needs,
}

impl Plan<'_> {
    /// Keeps the results of the tasks before the task from which the run continues. A task that is not `required` runs
    /// if it has no result.
    fn keep(
        &self,
        tasks: &[Task],
        path: &[String],
        required: bool,
        kept: &mut Vec<PresetResult>,
    ) -> Result<()> {
        for task in tasks {
            if task.id() == self.from {
                return Ok(());
            }
            if contains(task, self.from) {
                return self.keep_within(task, path, kept);
            }
            let found = self.find(task, path);
            if found.is_none() && required && !task.common.disabled {
                let (run, id) = (self.earlier.run_id, task.id());
                let text =
                    format!("the run {run} has no result of the task {id}, which comes before {}", self.from);
                return Err(Error::new(Kind::Usage, text).hint(format!("use --from {id}")));
            }
            kept.extend(found);
        }
        Ok(())
    }

    /// Keeps results within the task around the one from which the run continues.
    fn keep_within(&self, task: &Task, path: &[String], kept: &mut Vec<PresetResult>) -> Result<()> {
        let branches = task.branches();
        let branch = branches.iter().find(|(_, tasks)| tasks.iter().any(|task| contains(task, self.from)));
        let Some((name, tasks)) = branch else { return Ok(()) };
        if name == "errors" || name == "finally" {
            let text = format!("a run cannot continue in the `{name}` tasks of {}", task.id());
            return Err(Error::new(Kind::Usage, text).hint(format!("use --from {}", task.id())));
        }
        if let TaskType::WorkingDirectory(_) = task.kind {
            let text = format!("a run cannot continue within {}: its files are gone", task.id());
            return Err(Error::new(Kind::Usage, text).hint(format!("use --from {}", task.id())));
        }
        if let TaskType::Parallel(_) | TaskType::Dag(_) = task.kind {
            // what runs side by side has no order: whatever has succeeded is kept
            for task in *tasks {
                match contains(task, self.from) {
                    true if task.id() == self.from => {}
                    true => self.keep_within(task, path, kept)?,
                    false => kept.extend(self.find(task, path)),
                }
            }
            return Ok(());
        }
        if !task.kind.is_loop() {
            return self.keep(tasks, path, false, kept);
        }
        for value in self.iterations(task, path) {
            if value.contains(secrets::MASK) {
                let (id, from) = (task.id(), self.from);
                let text = format!("cannot continue at {from}: a value of the loop {id} is a secret");
                return Err(
                    Error::new(Kind::Usage, text).hint(format!("use --from {id} to run the loop again"))
                );
            }
            let path = [path, &[value]].concat();
            let results: Vec<_> = tasks.iter().map(|task| (task, self.find(task, &path))).collect();
            // an iteration that has succeeded as a whole is kept as a whole
            match results.iter().all(|(task, result)| result.is_some() || task.common.disabled) {
                true => kept.extend(results.into_iter().filter_map(|(_, result)| result)),
                false => self.keep(tasks, &path, false, kept)?,
            }
        }
        Ok(())
    }

    /// The values that the earlier run has begun with in a loop.
    fn iterations(&self, task: &Task, path: &[String]) -> Vec<String> {
        let mut values = Vec::new();
        let own = |record: &&RecordedTask| record.task_id == task.id() && self.path(record) == path;
        for record in self.earlier.tasks.iter().filter(own) {
            for child in self.children(record) {
                values.extend(child.value.clone().filter(|value| !values.contains(value)));
            }
        }
        values
    }

    fn children(&self, parent: &RecordedTask) -> impl Iterator<Item = &RecordedTask> {
        let id = parent.task_run_id;
        self.earlier.tasks.iter().filter(move |record| record.parent_id == Some(id))
    }

    /// The values of the loops around a task run, outermost first.
    fn path(&self, record: &RecordedTask) -> Vec<String> {
        let parent = self.earlier.tasks.iter().find(|other| Some(other.task_run_id) == record.parent_id);
        let Some(parent) = parent else { return Vec::new() };
        let mut path = self.path(parent);
        let mut is_loop = false;
        self.flow_tasks.iter().for_each(|task| {
            task.walk(&mut |task| is_loop |= task.id() == parent.task_id && task.kind.is_loop());
        });
        path.extend(record.value.clone().filter(|_| is_loop));
        path
    }

    /// The result of a task in an iteration, if it has succeeded or was skipped.
    fn find(&self, task: &Task, path: &[String]) -> Option<PresetResult> {
        let own = |record: &&RecordedTask| record.task_id == task.id() && self.path(record) == path;
        self.earlier.tasks.iter().filter(own).find_map(|record| self.result(record))
    }

    fn result(&self, record: &RecordedTask) -> Option<PresetResult> {
        let complete = [RunStatus::Succeeded, RunStatus::Warning, RunStatus::Skipped];
        let status = complete.into_iter().find(|status| status.name() == record.status)?;
        let outputs = record.outputs.as_ref().and_then(Json::as_object).cloned().unwrap_or_default();
        Some(PresetResult {
            task_id: record.task_id.clone(),
            task_type: record.task_type.clone(),
            iterations: Iterations::One(self.path(record)),
            status,
            outputs: PresetOutputs::Recorded(outputs),
            note: format!("taken over from the run {}", self.earlier.run_id),
            below: self.children(record).filter_map(|child| self.result(child)).collect(),
        })
    }

    /// Refuses results whose outputs the new run needs and the ledger does not hold. `top` is the task to run again.
    fn check(&self, result: &PresetResult, top: &str) -> Result<()> {
        if let (PresetOutputs::Recorded(outputs), Iterations::One(path)) =
            (&result.outputs, &result.iterations)
        {
            self.check_outputs(&result.task_id, path, outputs, top)?;
        }
        result.below.iter().try_for_each(|child| self.check(child, top))
    }

    fn check_outputs(&self, id: &str, path: &[String], outputs: &Outputs, top: &str) -> Result<()> {
        let Some((name, reason)) = self.needs.lacking(id, path, outputs) else { return Ok(()) };
        let text = format!("cannot continue at {}: it or a later task needs {name}, {reason}", self.from);
        Err(Error::new(Kind::Usage, text).hint(format!("use --from {top} to run the task {top} again")))
    }
}
