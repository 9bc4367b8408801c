//! What a run is given instead of computing it: results of tasks that then do not run, files, the trigger's
//! variables. A replay gives the results of an earlier run; a test gives its fixtures.

use jiff::Timestamp;
use minijinja::Value as Data;
use serde_json::Value as Json;
use uuid::Uuid;

use super::Execution;
use super::frame::Frame;
use super::record::TaskRecord;
use crate::error::{Error, Kind, Result};
use crate::flow::context::lock;
use crate::flow::context::storage::Storage;
use crate::flow::context::task_run::{Outputs, TaskRun};
use crate::flow::expression::{Scope, Template};
use crate::flow::model::flow::Flow;
use crate::interrupt::Interrupt;
use crate::ledger::RunStatus;
use crate::report::event::Level;

/// What a run is given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Presets {
    /// Results of tasks.
    pub(crate) results: Vec<PresetResult>,
    /// The run that this run continues.
    pub(crate) replay_of: Option<Uuid>,
    /// Names and contents of files. Expressions find their paths in `files`.
    pub(crate) files: Vec<(String, String)>,
    /// The variables of the trigger, instead of its date.
    pub(crate) trigger: Option<Outputs>,
    /// Whether the run is a test, which the run history does not record.
    pub(crate) is_test: bool,
}

/// The result of a task that does not run.
#[derive(Clone, Debug)]
pub(crate) struct PresetResult {
    /// The task's id.
    pub(crate) task_id: String,
    /// The task's type, for the record.
    pub(crate) task_type: String,
    /// The iterations that the result is for.
    pub(crate) iterations: Iterations,
    /// How the task ends.
    pub(crate) status: RunStatus,
    /// The task's outputs.
    pub(crate) outputs: PresetOutputs,
    /// What the task's log says.
    pub(crate) note: String,
    /// The results of the tasks below it.
    pub(crate) below: Vec<PresetResult>,
}

/// The iterations of the loops around a task that a result is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Iterations {
    /// Every iteration.
    All,
    /// The iterations whose innermost loop has this value.
    Innermost(String),
    /// The iteration with these values of the loops, outermost first.
    One(Vec<String>),
}

impl Iterations {
    fn include(&self, values: &[&str]) -> bool {
        match self {
            Self::All => true,
            Self::Innermost(value) => values.last() == Some(&value.as_str()),
            Self::One(path) => path.iter().map(String::as_str).eq(values.iter().copied()),
        }
    }
}

/// The outputs of a result.
#[derive(Clone, Debug)]
pub(crate) enum PresetOutputs {
    /// As an earlier run recorded them.
    Recorded(Outputs),
    /// With expressions, which are evaluated when the task would run.
    Templates(PresetValue),
}

/// A value whose texts may contain expressions.
#[derive(Clone, Debug)]
pub(crate) enum PresetValue {
    /// A text.
    Text(Template),
    /// A list.
    List(Vec<PresetValue>),
    /// A mapping.
    Map(Vec<(String, PresetValue)>),
    /// Any other value.
    Plain(Json),
}

impl PresetValue {
    /// Evaluates the expressions. The error is the reason.
    pub(crate) fn fill(&self, scope: &Scope) -> Result<Json, String> {
        Ok(match self {
            Self::Text(template) => {
                Json::String(scope.fill(template).map_err(|diagnostic| diagnostic.message)?)
            }
            Self::List(items) => items.iter().map(|item| item.fill(scope)).collect::<Result<_, _>>()?,
            Self::Map(entries) => {
                let fill = |(name, value): &(String, Self)| Ok((name.clone(), value.fill(scope)?));
                Json::Object(entries.iter().map(fill).collect::<Result<_, String>>()?)
            }
            Self::Plain(value) => value.clone(),
        })
    }
}

impl PresetResult {
    /// Whether the result is that of an earlier run, in which the condition of the task is decided already.
    pub(crate) const fn is_recorded(&self) -> bool {
        matches!(self.outputs, PresetOutputs::Recorded(_))
    }

    /// Whether the result is for one iteration of a loop.
    pub(crate) fn is_in_loop(&self) -> bool {
        self.iterations != Iterations::One(Vec::new())
    }

    fn outputs(&self, scope: &Scope) -> Result<Outputs> {
        match &self.outputs {
            PresetOutputs::Recorded(outputs) => Ok(outputs.clone()),
            PresetOutputs::Templates(value) => match value.fill(scope) {
                Ok(Json::Object(outputs)) => Ok(outputs),
                Ok(_) => Ok(Outputs::new()),
                Err(reason) => Err(Error::new(
                    Kind::Configuration,
                    format!("cannot evaluate the outputs of the fixture {}: {reason}", self.task_id),
                )),
            },
        }
    }
}

impl Presets {
    /// Whether a task of the flow that has no given result may use the run's database.
    pub(crate) fn need_database(&self, flow: &Flow) -> bool {
        // keys are in the database of the run history
        let mut needed = flow.mentions_keys();
        flow.walk(|task| {
            let name = task.kind.name();
            let is_given = self.results.iter().any(|result| result.task_id == task.id());
            let is_local = ["io.kestra.plugin.core.", "io.kestra.plugin.scripts."]
                .iter()
                .any(|prefix| name.starts_with(prefix))
                && !name.contains(".kv.");
            needed |= !is_given && !is_local;
        });
        needed
    }

    /// Stores the files, and adds their paths to the variables.
    pub(crate) fn with_files(&self, scope: Scope, storage: &Storage) -> Result<Scope> {
        if self.files.is_empty() {
            return Ok(scope);
        }
        let store = |(name, content): &(String, String)| Ok((name.clone(), storage.store(name, content)?));
        let paths = self.files.iter().map(store).collect::<Result<Vec<_>>>()?;
        Ok(scope.with("files", Data::from_pairs(paths)))
    }

    /// The result of a task in an iteration, if it is given. A result for one value comes before one for all.
    pub(crate) fn result(&self, task_id: &str, frame: &Frame<'_>) -> Option<&PresetResult> {
        let values = frame.path();
        let of_task =
            |result: &&PresetResult| result.task_id == task_id && result.iterations.include(&values);
        let found = || self.results.iter().filter(of_task);
        found().find(|result| result.iterations != Iterations::All).or_else(|| found().next())
    }
}

impl Execution {
    /// Takes over the given result of a task, and the results of the tasks below it.
    pub(super) async fn take(
        &self,
        result: &PresetResult,
        run: &TaskRun<'_>,
        values: &[&str],
        record: &mut TaskRecord,
        interrupt: &Interrupt,
    ) -> Result<RunStatus> {
        run.log(Level::Info, &result.note);
        let outputs = result.outputs(&run.scope)?;
        self.store_outputs(&result.task_id, values, &outputs);
        record.outputs = self.masked(outputs);
        self.take_below(result, record.task_run_id, interrupt).await;
        match result.status {
            RunStatus::Failed => Err(Error::new(Kind::TaskFailed, result.note.clone())),
            status => Ok(status),
        }
    }

    /// Takes over the results below a result. They are complete: none of them has failed.
    async fn take_below(&self, result: &PresetResult, parent: Uuid, interrupt: &Interrupt) {
        for child in &result.below {
            let PresetOutputs::Recorded(outputs) = &child.outputs else { continue };
            let Iterations::One(path) = &child.iterations else { continue };
            let values: Vec<&str> = path.iter().map(String::as_str).collect();
            self.store_outputs(&child.task_id, &values, outputs);
            let now = Timestamp::now();
            let record = TaskRecord {
                task_run_id: Uuid::now_v7(),
                parent_id: Some(parent),
                task_id: child.task_id.clone(),
                task_type: child.task_type.clone(),
                value: path.last().map(|value| self.context.secrets.hide(value)),
                status: child.status,
                attempts: Vec::new(),
                outputs: self.masked(outputs.clone()),
                error_kind: None,
                error: None,
                started_at: now,
                finished_at: Some(now),
                log: Vec::new(),
            };
            let id = record.task_run_id;
            self.history.task(self.run.id, &record, interrupt, self.context.report.as_ref()).await;
            lock(&self.records).push(record);
            Box::pin(self.take_below(child, id, interrupt)).await;
        }
    }
}
