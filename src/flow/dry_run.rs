//! A dry run: the tasks of a flow in order, with the values that are known before anything runs. It runs nothing and
//! connects to nothing.
//!
//! In: a request. Out: the tasks, with the branches that they take. A value that depends on a task, such as an output,
//! is shown as its expression. A run and a dry run decide with the same function, [`branch::decide`].

mod text;
mod unknown;

use std::cell::{Cell, RefCell};

use minijinja::{Value as Data, context};
use serde::Serialize;
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::flow::context::databases::keep_password;
use crate::flow::expression::{Scope, Template, dates};
use crate::flow::model::task::Task;
use crate::flow::run::branch::{self, Branch};
use crate::flow::run::frame::Frame;
use crate::flow::run::{self, Request};
use crate::flow::yaml::document::{Diagnostic, Node, YamlValue};
use crate::ledger::run::Run;
use crate::report::failure::Failure;
use crate::report::log::Log;
use crate::secrets;
pub(crate) use text::text;
use unknown::{Unknown, Watch};

/// Functions whose results only a run has: they read files or the database, or differ from call to call.
const RUN_FUNCTIONS: [&str; 14] = [
    "kv(",
    "read(",
    "fileURI(",
    "fileSize(",
    "fileExists(",
    "isFileEmpty(",
    "http(",
    "errorLogs(",
    "uuid(",
    "id(",
    "randomInt(",
    "randomPort(",
    "nanoId(",
    "ksuid(",
];
/// The properties that hold tasks. The plan lists these tasks by themselves.
const TASK_LISTS: [&str; 7] = ["tasks", "then", "else", "cases", "defaults", "errors", "finally"];

/// The plan of a run.
#[derive(Debug, Serialize)]
pub(crate) struct DryRun {
    /// `planned`, or `failed` if an expression cannot be evaluated.
    pub(crate) status: &'static str,
    /// The flow's name, with its namespace.
    pub(crate) flow: String,
    /// The inputs.
    pub(crate) inputs: Map<String, Json>,
    /// The labels.
    pub(crate) labels: Map<String, Json>,
    /// The trigger date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trigger_date: Option<String>,
    /// The tasks.
    pub(crate) tasks: Vec<PlannedTask>,
    /// The tasks that run after a failure.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) errors: Vec<PlannedTask>,
    /// The tasks that run at the end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) finally: Vec<PlannedTask>,
    /// The expressions that cannot be evaluated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<Failure>,
}

/// Whether a task runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Action {
    /// The task runs.
    Run,
    /// The condition of the task is false.
    Skip,
    /// The condition depends on the outputs of tasks.
    Undecided,
    /// The task is disabled.
    Disabled,
}

/// A task of the plan.
#[derive(Debug, Serialize)]
pub(crate) struct PlannedTask {
    /// The task's id.
    pub(crate) task_id: String,
    /// The task's type.
    pub(crate) task_type: String,
    /// Whether the task runs.
    pub(crate) action: Action,
    /// The task's properties, with expressions evaluated where their values are known.
    pub(crate) properties: Map<String, Json>,
    /// The tasks below it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) branches: Vec<PlannedBranch>,
}

/// Tasks that a task runs.
#[derive(Debug, Serialize)]
pub(crate) struct PlannedBranch {
    /// The property that holds the tasks, or the case of a Switch.
    pub(crate) branch: String,
    /// The value of the loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<String>,
    /// Whether it is known that these tasks run.
    pub(crate) decided: bool,
    /// The tasks.
    pub(crate) tasks: Vec<PlannedTask>,
}

/// Plans the run. The error describes expressions that cannot be evaluated; the plan shows them as they are.
pub(crate) fn plan(request: &Request) -> Result<(DryRun, Option<Error>)> {
    let (flow, secrets) = (&request.flow, &request.secrets);
    let run = Run::begin(flow.name(), Vec::new(), Log::default());
    let watch = Watch::default();
    let scope = run::scope(request, &run, secrets)
        .with("execution", Unknown::data(&watch))
        .with("outputs", Unknown::data(&watch))
        .with("taskrun", Unknown::data(&watch));
    let inputs = run::resolve(request, &scope)?;
    let scope = scope.with("inputs", inputs.data());
    let labels = run::labels(request, &scope)?;
    let scope = scope.with("labels", Data::from_pairs(labels.clone()));
    // first: a password may be in the properties of any task
    flow.walk(|task| {
        if let Some(Ok(settings)) = task.kind.connection().map(|connection| connection.resolve(&scope)) {
            keep_password(&settings, secrets);
        }
    });
    let planner =
        Planner { request, scope, watch, labels_change: Cell::new(false), diagnostics: RefCell::default() };
    let mut dry_run = DryRun {
        status: "planned",
        flow: flow.name(),
        inputs: planner.masked(inputs.into_pairs()),
        labels: planner.masked(labels),
        trigger_date: request.trigger_date.as_ref().map(dates::text),
        tasks: planner.tasks(&flow.tasks, Frame::root()),
        errors: planner.tasks(&flow.errors, Frame::root()),
        finally: planner.tasks(&flow.finally, Frame::root()),
        error: None,
    };
    let diagnostics = planner.diagnostics.into_inner();
    let error = (!diagnostics.is_empty()).then(|| run::without_secrets(flow.faults(diagnostics), secrets));
    if let Some(error) = &error {
        (dry_run.status, dry_run.error) = ("failed", Some(Failure::of(error)));
    }
    Ok((dry_run, error))
}

struct Planner<'a> {
    request: &'a Request,
    scope: Scope,
    watch: Watch,
    /// Whether a task before has set labels.
    labels_change: Cell<bool>,
    diagnostics: RefCell<Vec<Diagnostic>>,
}

impl Planner<'_> {
    fn masked(&self, pairs: Vec<(String, String)>) -> Map<String, Json> {
        let hide = |(name, value): (String, String)| (name, Json::from(self.request.secrets.hide(&value)));
        pairs.into_iter().map(hide).collect()
    }

    fn tasks(&self, tasks: &[Task], frame: Frame<'_>) -> Vec<PlannedTask> {
        tasks.iter().map(|task| self.task(task, frame, &self.scope)).collect()
    }

    /// Plans a task. `base` holds the variables outside of the task.
    fn task(&self, task: &Task, frame: Frame<'_>, base: &Scope) -> PlannedTask {
        let scope = self.scope_of(task, frame, base);
        let action = match &task.common.run_if {
            _ if task.common.disabled => Action::Disabled,
            None => Action::Run,
            Some(condition) => match self.known(|| scope.is_true(condition)) {
                Some(true) => Action::Run,
                Some(false) => Action::Skip,
                None => Action::Undecided,
            },
        };
        let may_run = matches!(action, Action::Run | Action::Undecided);
        let branches = if may_run { self.branches(task, frame, &scope, base) } else { Vec::new() };
        if may_run && task.kind.name() == "io.kestra.plugin.core.execution.Labels" {
            self.labels_change.set(true);
        }
        PlannedTask {
            task_id: task.id().to_owned(),
            task_type: task.kind.name().to_owned(),
            action,
            properties: self.properties(task, &scope, may_run),
            branches,
        }
    }

    fn scope_of(&self, task: &Task, frame: Frame<'_>, base: &Scope) -> Scope {
        let scope = base.clone().with("task", context! { id => task.id(), type => task.kind.name() });
        let scope = match self.labels_change.get() {
            true => scope.with("labels", Unknown::data(&self.watch)),
            false => scope,
        };
        let Some((value, iteration)) = frame.values().next() else { return scope };
        let known = [("value", Data::from(value)), ("iteration", Data::from(iteration))];
        let scope = scope.with("taskrun", Unknown::data_with(&self.watch, known));
        let parents = frame.parents();
        match parents.first() {
            Some(parent) => scope.with("parent", parent.clone()).with("parents", parents),
            None => scope,
        }
    }

    /// The tasks below a task: those that it runs, or all if that is not known yet.
    fn branches(&self, task: &Task, frame: Frame<'_>, scope: &Scope, base: &Scope) -> Vec<PlannedBranch> {
        let Some(flowable) = task.kind.flowable() else { return Vec::new() };
        let below = frame.below(Uuid::nil());
        let plan = |tasks: &[Task]| tasks.iter().map(|task| self.task(task, below, base)).collect::<Vec<_>>();
        let mut branches = match self.known(|| branch::decide(&task.kind, scope)).flatten() {
            Some(Branch::Sequence { name, tasks }) => vec![decided(name, None, plan(tasks))],
            Some(Branch::Parallel { tasks, .. }) => vec![decided("tasks", None, plan(tasks))],
            Some(Branch::Graph(dag)) => {
                let tasks = dag.in_order().into_iter();
                vec![decided("tasks", None, tasks.map(|task| self.task(task, below, base)).collect())]
            }
            Some(Branch::Loop { values, tasks, .. }) => {
                let iteration = |(index, value): (usize, &String)| {
                    let frame = frame.iteration(Uuid::nil(), value, index);
                    let tasks = tasks.iter().map(|task| self.task(task, frame, base)).collect();
                    decided("tasks", Some(self.request.secrets.hide(value)), tasks)
                };
                values.iter().enumerate().map(iteration).collect()
            }
            None => {
                let handlers = [flowable.errors(), flowable.finally()];
                let is_own = |tasks: &[Task]| !handlers.iter().any(|handler| std::ptr::eq(*handler, tasks));
                let own = flowable.branches().into_iter().filter(|(_, tasks)| is_own(tasks));
                own.map(|(name, tasks)| PlannedBranch {
                    branch: name,
                    value: None,
                    decided: false,
                    tasks: match task.kind.is_loop() {
                        true => self.in_unknown_loop(tasks, base),
                        false => plan(tasks),
                    },
                })
                .collect()
            }
        };
        branches.retain(|branch| branch.value.is_some() || !branch.tasks.is_empty());
        branches
    }

    /// Plans the tasks of a loop whose values are not known.
    fn in_unknown_loop(&self, tasks: &[Task], base: &Scope) -> Vec<PlannedTask> {
        let base = base
            .clone()
            .with("parent", Unknown::data(&self.watch))
            .with("parents", Unknown::data(&self.watch));
        // the values of outer loops are not those of this loop
        tasks.iter().map(|task| self.task(task, Frame::root(), &base)).collect()
    }

    /// The result of `evaluate`. `None` if it depends on a task, or if it failed, which is recorded.
    fn known<T>(&self, evaluate: impl FnOnce() -> Result<T, Diagnostic>) -> Option<T> {
        self.watch.reset();
        let result = evaluate();
        match result {
            _ if self.watch.was_read() => None,
            Ok(value) => Some(value),
            Err(diagnostic) => {
                let mut diagnostics = self.diagnostics.borrow_mut();
                let is_known =
                    diagnostics.iter().any(|other: &Diagnostic| other.position == diagnostic.position);
                diagnostics.extend((!is_known).then_some(diagnostic));
                None
            }
        }
    }

    /// The properties of the task. A task that does not run keeps its expressions.
    fn properties(&self, task: &Task, scope: &Scope, may_run: bool) -> Map<String, Json> {
        let YamlValue::Map(entries) = &task.node.value else { return Map::new() };
        let shown = entries.iter().filter_map(|(key, value)| {
            let name = key.value.text()?;
            let is_task_list = task.kind.flowable().is_some() && TASK_LISTS.contains(&name);
            let is_shown = !is_task_list && !["id", "type", "description"].contains(&name);
            is_shown.then(|| (name.to_owned(), self.value(name, value, scope, may_run)))
        });
        shown.collect()
    }

    fn value(&self, name: &str, node: &Node, scope: &Scope, may_run: bool) -> Json {
        match &node.value {
            YamlValue::Null => Json::Null,
            YamlValue::Bool(value) => Json::Bool(*value),
            YamlValue::Text(text) | YamlValue::Number(text) if name == "password" && !text.is_empty() => {
                secrets::MASK.into()
            }
            YamlValue::Number(text) => match text.parse() {
                Ok(number) => Json::Number(number),
                Err(_) => text.as_str().into(),
            },
            YamlValue::Text(text) => self.request.secrets.hide(&self.fill(text, node, scope, may_run)).into(),
            YamlValue::List(items) => {
                items.iter().map(|item| self.value(name, item, scope, may_run)).collect()
            }
            YamlValue::Map(entries) => {
                let entry = |(key, value): &(Node, Node)| {
                    let name = key.value.text().unwrap_or_default();
                    (name.to_owned(), self.value(name, value, scope, may_run))
                };
                Json::Object(entries.iter().map(entry).collect())
            }
        }
    }

    fn fill(&self, text: &str, node: &Node, scope: &Scope, may_run: bool) -> String {
        let needs_run = || RUN_FUNCTIONS.iter().any(|name| text.contains(name));
        match Template::parse(text, node.position) {
            Ok((template, _)) if may_run && !needs_run() => {
                self.known(|| scope.fill(&template)).unwrap_or_else(|| text.to_owned())
            }
            _ => text.to_owned(),
        }
    }
}

fn decided(branch: &str, value: Option<String>, tasks: Vec<PlannedTask>) -> PlannedBranch {
    PlannedBranch { branch: branch.to_owned(), value, decided: true, tasks }
}
