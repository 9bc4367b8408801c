//! Tasks that run other tasks: their branches, conditions and concurrency limits.

use std::collections::HashSet;

use crate::flow::expression::Template;
use crate::flow::model::task::Task;
use crate::flow::model::values::Values;
use crate::flow::yaml::decode::{Entries, properties};

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
        impl $crate::flow::tasks::flowable::Flowable for $type_name {
            fn branches(&self) -> Vec<(String, &[$crate::flow::model::task::Task])> {
                let $task = self;
                let mut branches: Vec<(String, &[$crate::flow::model::task::Task])> = $branches;
                branches.push(("errors".to_owned(), &self.errors));
                branches.push(("finally".to_owned(), &self.finally));
                branches.retain(|(_, tasks)| !tasks.is_empty());
                branches
            }

            fn errors(&self) -> &[$crate::flow::model::task::Task] {
                &self.errors
            }

            fn finally(&self) -> &[$crate::flow::model::task::Task] {
                &self.finally
            }
        }
    };
}

pub(crate) use flowable;

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
    /// The case for a value and its tasks, or the defaults if no case matches.
    pub(crate) fn case(&self, value: &str) -> (&str, &[Task]) {
        let case = self.cases.0.iter().find(|(case, _)| case == value);
        case.map_or(("defaults", &self.defaults), |(case, tasks)| (case, tasks))
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
    /// Runs tasks once for each value of a list, one value after another. An older task type: ForEach does the same.
    pub(crate) struct EachSequential as "an EachSequential task" {
        /// The values: a list, or an expression that yields a JSON array.
        "value" => values: Values,
        /// The tasks to run for each value.
        "tasks" => tasks: Vec<Task>,
        /// Tasks that run after one of this task's children has failed.
        "errors" => errors: Vec<Task> = Vec::new(),
        /// Tasks that run at the end, after success and after failure.
        "finally" => finally: Vec<Task> = Vec::new(),
    }
}

flowable!(EachSequential, |task| vec![("tasks".to_owned(), &task.tasks)]);

properties! {
    /// Runs tasks once for each value of a list, for all values at the same time. An older task type: ForEach does the same.
    pub(crate) struct EachParallel as "an EachParallel task" {
        /// The values: a list, or an expression that yields a JSON array.
        "value" => values: Values,
        /// The tasks to run for each value.
        "tasks" => tasks: Vec<Task>,
        /// Maximum number of values at a time; 0 means no limit.
        "concurrent" => concurrent: u32 = 0,
        /// Tasks that run after one of this task's children has failed.
        "errors" => errors: Vec<Task> = Vec::new(),
        /// Tasks that run at the end, after success and after failure.
        "finally" => finally: Vec<Task> = Vec::new(),
    }
}

flowable!(EachParallel, |task| vec![("tasks".to_owned(), &task.tasks)]);

properties! {
    /// Runs tasks one after another. If one fails, the flow goes on with a warning.
    pub(crate) struct AllowFailure as "an AllowFailure task" {
        /// The tasks.
        "tasks" => tasks: Vec<Task>,
        /// Tasks that run after one of this task's children has failed.
        "errors" => errors: Vec<Task> = Vec::new(),
        /// Tasks that run at the end, after success and after failure.
        "finally" => finally: Vec<Task> = Vec::new(),
    }
}

flowable!(AllowFailure, |task| vec![("tasks".to_owned(), &task.tasks)]);

properties! {
    /// Runs each task when the tasks that it depends on have ended.
    pub(crate) struct Dag as "a Dag task" {
        /// The tasks, each with the ids of those that it depends on.
        "tasks" => tasks: Vec<DagTask>,
        /// Maximum number of tasks at a time; 0 means no limit.
        "concurrent" => concurrent: u32 = 0,
        /// Tasks that run after one of this task's children has failed.
        "errors" => errors: Vec<Task> = Vec::new(),
        /// Tasks that run at the end, after success and after failure.
        "finally" => finally: Vec<Task> = Vec::new(),
    }
}

properties! {
    /// A task of a Dag task.
    pub(crate) struct DagTask as "a task of a Dag task" {
        /// The task.
        "task" => task: Task,
        /// The ids of the tasks that it depends on.
        "dependsOn" => depends_on: Vec<String> = Vec::new(),
    }
}

flowable!(Dag, |task| {
    let slices = task.tasks.iter().map(|node| std::slice::from_ref(&node.task));
    slices.map(|task| ("tasks".to_owned(), task)).collect()
});

impl Dag {
    /// What keeps a task of this Dag from ever running: a dependency that is no task of it, or a circle.
    pub(crate) fn fault(&self) -> Option<String> {
        let ids: Vec<&str> = self.tasks.iter().map(|node| node.task.id()).collect();
        let unknown =
            self.tasks.iter().flat_map(|node| &node.depends_on).find(|id| !ids.contains(&id.as_str()));
        if let Some(id) = unknown {
            return Some(format!("`dependsOn` names {id:?}, which is not a task of this Dag task"));
        }
        let reached: HashSet<&str> = self.in_order().iter().map(|task| task.id()).collect();
        let missing: Vec<&str> = ids.into_iter().filter(|id| !reached.contains(id)).collect();
        let shown = || missing.join(", ");
        (!missing.is_empty()).then(|| format!("these tasks depend on each other in a circle: {}", shown()))
    }

    /// The tasks, each after those that it depends on. Tasks that depend on each other in a circle are left out.
    pub(crate) fn in_order(&self) -> Vec<&Task> {
        let mut waiting: Vec<&DagTask> = self.tasks.iter().collect();
        let (mut done, mut tasks) = (HashSet::new(), Vec::new());
        while let Some(index) = Self::ready(&waiting, &done) {
            let task = &waiting.remove(index).task;
            done.insert(task.id());
            tasks.push(task);
        }
        tasks
    }

    /// The index of the first waiting task that depends only on tasks that are done.
    pub(crate) fn ready(waiting: &[&DagTask], done: &HashSet<&str>) -> Option<usize> {
        waiting.iter().position(|node| node.depends_on.iter().all(|id| done.contains(id.as_str())))
    }
}
