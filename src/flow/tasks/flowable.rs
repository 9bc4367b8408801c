//! Tasks that run other tasks: their branches, conditions and concurrency limits.

use serde_json::{Value as Json, json};

use crate::flow::expression::Template;
use crate::flow::model::labels::Labels;
use crate::flow::model::task::Task;
use crate::flow::model::values::Values;
use crate::flow::yaml::decode::{Decode, Decoder, Entries, Id, properties};
use crate::flow::yaml::document::Node;

/// A task that runs other tasks.
pub(crate) trait Flowable {
    /// All lists of tasks that this task may run, each with its property name.
    fn branches(&self) -> Vec<(String, &[Task])>;

    /// The tasks to run after a child has failed.
    fn errors(&self) -> &[Task];

    /// The tasks to run at the end, after success and after failure.
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
    /// Runs one list of tasks if a condition is true, and another list if it is false.
    pub(crate) struct If as "an If task" {
        /// The condition.
        "condition" => condition: Template,
        /// Tasks to run if the condition is true.
        "then" => then: Vec<Task>,
        /// Tasks to run if the condition is false.
        "else" => otherwise: Vec<Task> = Vec::new(),
        /// Tasks that run after one of this task's children has failed.
        "errors" => errors: Vec<Task> = Vec::new(),
        /// Tasks that run at the end, after success and after failure.
        "finally" => finally: Vec<Task> = Vec::new(),
    }
}

flowable!(If, |task| vec![("then".to_owned(), &task.then), ("else".to_owned(), &task.otherwise)]);

properties! {
    /// Runs the tasks of the case that matches a value.
    pub(crate) struct Switch as "a Switch task" {
        /// The value to match.
        "value" => value: Template,
        /// The tasks for each value.
        "cases" => cases: Entries<Vec<Task>> = Entries::default(),
        /// Tasks to run if no case matches.
        "defaults" => defaults: Vec<Task> = Vec::new(),
        /// Tasks that run after one of this task's children has failed.
        "errors" => errors: Vec<Task> = Vec::new(),
        /// Tasks that run at the end, after success and after failure.
        "finally" => finally: Vec<Task> = Vec::new(),
    }
}

impl Switch {
    /// The tasks for a value, or the defaults if no case matches.
    pub(crate) fn case(&self, value: &str) -> &[Task] {
        let case = self.cases.0.iter().find(|(case, _)| case == value);
        case.map_or(&self.defaults, |(_, tasks)| tasks)
    }
}

flowable!(Switch, |task| {
    let cases = task.cases.0.iter().map(|(value, tasks)| (value.clone(), tasks.as_slice()));
    cases.chain([("defaults".to_owned(), task.defaults.as_slice())]).collect()
});

properties! {
    /// Runs tasks one after another.
    pub(crate) struct Sequential as "a Sequential task" {
        /// The tasks.
        "tasks" => tasks: Vec<Task>,
        /// Tasks that run after one of this task's children has failed.
        "errors" => errors: Vec<Task> = Vec::new(),
        /// Tasks that run at the end, after success and after failure.
        "finally" => finally: Vec<Task> = Vec::new(),
    }
}

flowable!(Sequential, |task| vec![("tasks".to_owned(), &task.tasks)]);

properties! {
    /// Runs tasks in parallel.
    pub(crate) struct Parallel as "a Parallel task" {
        /// The tasks.
        "tasks" => tasks: Vec<Task>,
        /// Maximum number of tasks at a time; 0 means no limit.
        "concurrent" => concurrent: u32 = 0,
        /// Tasks that run after one of this task's children has failed.
        "errors" => errors: Vec<Task> = Vec::new(),
        /// Tasks that run at the end, after success and after failure.
        "finally" => finally: Vec<Task> = Vec::new(),
    }
}

flowable!(Parallel, |task| vec![("tasks".to_owned(), &task.tasks)]);

properties! {
    /// Runs tasks once for each value of a list. Expressions see the value as taskrun.value.
    pub(crate) struct ForEach as "a ForEach task" {
        /// The values: a list, or an expression that yields a JSON array.
        "values" => values: Values,
        /// The tasks to run for each value.
        "tasks" => tasks: Vec<Task>,
        /// Maximum number of values at a time; 0 means no limit.
        "concurrencyLimit" => concurrency_limit: u32 = 1,
        /// Tasks that run after one of this task's children has failed.
        "errors" => errors: Vec<Task> = Vec::new(),
        /// Tasks that run at the end, after success and after failure.
        "finally" => finally: Vec<Task> = Vec::new(),
    }
}

flowable!(ForEach, |task| vec![("tasks".to_owned(), &task.tasks)]);

properties! {
    /// Runs another flow: a file in the same folder as this flow, or a built-in flow.
    pub(crate) struct Subflow as "a Subflow task" {
        /// The flow's namespace.
        "namespace" => namespace: String,
        /// The flow's id.
        "flowId" => flow_id: Id,
        /// The flow's inputs.
        "inputs" => inputs: Entries<Template> = Entries::default(),
        /// Labels of the flow's run.
        "labels" => labels: Labels = Labels::default(),
        /// Whether the task waits for the flow to end; only true is supported.
        "wait" => _wait: Always = Always,
        /// Whether the task fails if the flow fails.
        "transmitFailed" => transmit_failed: bool = true,
    }
}

/// A property that must be `true`: no subflow outlives the flow that started it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Always;

impl Decode for Always {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        match bool::decode(node, decoder)? {
            true => Some(Self),
            false => {
                decoder.refuse(node.position, "unsupported value false: a flow always waits for its subflows")
            }
        }
    }

    fn schema() -> Json {
        json!({ "const": true })
    }
}
