//! Tasks that run others: which, under what condition, how many at a time.

use serde_json::{Value as Json, json};

use crate::error::Result;
use crate::pipeline::decode::{Decode, Decoder, Entries, Id, properties};
use crate::pipeline::document::{Node, Value};
use crate::pipeline::execution::subflow;
use crate::pipeline::execution::task_run::{Outputs, TaskRun};
use crate::pipeline::expression::Template;
use crate::pipeline::labels::Labels;
use crate::pipeline::task::Task;

/// A task that runs others.
pub trait Flowable {
    /// All that it may run, list by list, each with what it is for.
    fn branches(&self) -> Vec<(String, &[Task])>;

    /// What it runs when one of them has failed.
    fn errors(&self) -> &[Task];

    /// What it runs at the end.
    fn finally(&self) -> &[Task];
}

macro_rules! flowable {
    ($type_name:ident, |$task:ident| $branches:expr) => {
        impl Flowable for $type_name {
            fn branches(&self) -> Vec<(String, &[Task])> {
                let $task = self;
                let mut branches: Vec<(String, &[Task])> = $branches;
                branches.push(("errors".to_owned(), &self.errors));
                branches.push(("finally".to_owned(), &self.finally));
                branches.retain(|(_, tasks)| !tasks.is_empty());
                branches
            }

            fn errors(&self) -> &[Task] {
                &self.errors
            }

            fn finally(&self) -> &[Task] {
                &self.finally
            }
        }
    };
}

properties! {
    /// Runs tasks if a condition holds, and others if not.
    pub struct If as "an if" {
        /// The condition.
        "condition" => condition: Template,
        /// What runs if it holds.
        "then" => then: Vec<Task>,
        /// What runs if not.
        "else" => otherwise: Vec<Task> = Vec::new(),
        /// What runs when one of them has failed.
        "errors" => errors: Vec<Task> = Vec::new(),
        /// What runs at the end.
        "finally" => finally: Vec<Task> = Vec::new(),
    }
}

flowable!(If, |task| vec![("then".to_owned(), &task.then), ("else".to_owned(), &task.otherwise)]);

properties! {
    /// Runs the tasks of the case that a value is.
    pub struct Switch as "a switch" {
        /// The value.
        "value" => value: Template,
        /// Tasks by the value that they are for.
        "cases" => cases: Entries<Vec<Task>> = Entries::default(),
        /// What runs where there is no such case.
        "defaults" => defaults: Vec<Task> = Vec::new(),
        /// What runs when one of them has failed.
        "errors" => errors: Vec<Task> = Vec::new(),
        /// What runs at the end.
        "finally" => finally: Vec<Task> = Vec::new(),
    }
}

impl Switch {
    /// The tasks for a value.
    pub fn case(&self, value: &str) -> &[Task] {
        let case = self.cases.0.iter().find(|(case, _)| case == value);
        case.map_or(&self.defaults, |(_, tasks)| tasks)
    }
}

flowable!(Switch, |task| {
    let cases = task.cases.0.iter().map(|(value, tasks)| (value.clone(), tasks.as_slice()));
    cases.chain([("defaults".to_owned(), task.defaults.as_slice())]).collect()
});

properties! {
    /// Runs tasks one after the other.
    pub struct Sequential as "a sequence" {
        /// These.
        "tasks" => tasks: Vec<Task>,
        /// What runs when one of them has failed.
        "errors" => errors: Vec<Task> = Vec::new(),
        /// What runs at the end.
        "finally" => finally: Vec<Task> = Vec::new(),
    }
}

flowable!(Sequential, |task| vec![("tasks".to_owned(), &task.tasks)]);

properties! {
    /// Runs tasks side by side.
    pub struct Parallel as "a parallel" {
        /// These.
        "tasks" => tasks: Vec<Task>,
        /// How many at a time; 0 is all of them.
        "concurrent" => concurrent: u32 = 0,
        /// What runs when one of them has failed.
        "errors" => errors: Vec<Task> = Vec::new(),
        /// What runs at the end.
        "finally" => finally: Vec<Task> = Vec::new(),
    }
}

flowable!(Parallel, |task| vec![("tasks".to_owned(), &task.tasks)]);

properties! {
    /// Runs tasks once for each of some values, which they see as taskrun.value.
    pub struct ForEach as "a loop" {
        /// The values: a list, or what comes to one in JSON.
        "values" => values: Values,
        /// What runs for each.
        "tasks" => tasks: Vec<Task>,
        /// For how many values at a time; 0 is all of them.
        "concurrencyLimit" => concurrency_limit: u32 = 1,
        /// What runs when one of them has failed.
        "errors" => errors: Vec<Task> = Vec::new(),
        /// What runs at the end.
        "finally" => finally: Vec<Task> = Vec::new(),
    }
}

flowable!(ForEach, |task| vec![("tasks".to_owned(), &task.tasks)]);

/// The values of a loop.
#[derive(Clone, Debug)]
pub enum Values {
    /// They are written out.
    List(Vec<Template>),
    /// They are what this comes to.
    Computed(Template),
}

impl Decode for Values {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        match node.value {
            Value::List(_) => Vec::decode(node, decoder).map(Self::List),
            _ => Template::decode(node, decoder).map(Self::Computed),
        }
    }

    fn schema() -> Json {
        json!({ "anyOf": [Template::schema(), Vec::<Template>::schema()] })
    }
}

impl Values {
    /// The values as texts: a text as it is, all else as JSON.
    pub fn resolve(&self, run: &TaskRun<'_>) -> Result<Vec<String>> {
        let template = match self {
            Self::List(templates) => return templates.iter().map(|template| run.fill(template)).collect(),
            Self::Computed(template) => template,
        };
        let text = run.fill(template)?;
        let Ok(Json::Array(values)) = serde_json::from_str(&text) else {
            return Err(run.fault(template.position, format!("this is no list in JSON: {text:?}")));
        };
        Ok(values
            .into_iter()
            .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            .collect())
    }
}

properties! {
    /// Runs another flow: one in a file beside this one, or a built-in one.
    pub struct Subflow as "a subflow" {
        /// Its namespace.
        "namespace" => namespace: String,
        /// Its id.
        "flowId" => flow_id: Id,
        /// Its inputs.
        "inputs" => inputs: Entries<Template> = Entries::default(),
        /// Its labels.
        "labels" => labels: Labels = Labels::default(),
        /// Whether the task ends when the flow does.
        "wait" => wait: Always = Always,
        /// Whether it fails where the flow has failed.
        "transmitFailed" => transmit_failed: bool = true,
    }
}

impl Subflow {
    /// Runs it.
    pub async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        subflow::run(self, run).await
    }
}

/// `true`: nothing here runs on when the flow has ended.
#[derive(Clone, Copy, Debug)]
pub struct Always;

impl Decode for Always {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        match bool::decode(node, decoder)? {
            true => Some(Self),
            false => {
                decoder.refuse(node.position, "false is not supported here: a run ends with its last task")
            }
        }
    }

    fn schema() -> Json {
        json!({ "const": true })
    }
}
