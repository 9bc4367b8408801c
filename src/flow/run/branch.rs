//! Decides which tasks a flowable task runs. A run and a dry run share this decision.

use crate::flow::expression::Scope;
use crate::flow::model::task::{Task, TaskType};
use crate::flow::model::values::Values;
use crate::flow::tasks::flowable::Dag;
use crate::flow::yaml::document::Diagnostic;

/// What a flowable task runs.
pub(crate) enum Branch<'a> {
    /// Tasks, one after another.
    Sequence {
        /// The property that holds the tasks, or the case of a Switch.
        name: &'a str,
        tasks: &'a [Task],
    },
    /// Tasks side by side, at most `limit` at a time; 0 means no limit.
    Parallel { tasks: &'a [Task], limit: u32 },
    /// Each task when those that it depends on have ended.
    Graph(&'a Dag),
    /// Tasks, one after another, for each of the values; at most `limit` values at a time, 0 means no limit.
    Loop { values: Vec<String>, tasks: &'a [Task], limit: u32 },
}

/// Decides what the task runs. `None` if it is not a flowable task.
pub(crate) fn decide<'a>(kind: &'a TaskType, scope: &Scope) -> Result<Option<Branch<'a>>, Diagnostic> {
    Ok(Some(match kind {
        TaskType::If(task) => match scope.is_true(&task.condition)? {
            true => Branch::Sequence { name: "then", tasks: &task.then },
            false => Branch::Sequence { name: "else", tasks: &task.otherwise },
        },
        TaskType::Switch(task) => {
            let (name, tasks) = task.case(&scope.fill(&task.value)?);
            Branch::Sequence { name, tasks }
        }
        TaskType::Sequential(task) => Branch::Sequence { name: "tasks", tasks: &task.tasks },
        TaskType::Parallel(task) => Branch::Parallel { tasks: &task.tasks, limit: task.concurrent },
        TaskType::AllowFailure(task) => Branch::Sequence { name: "tasks", tasks: &task.tasks },
        TaskType::WorkingDirectory(task) => Branch::Sequence { name: "tasks", tasks: &task.tasks },
        TaskType::Dag(task) => Branch::Graph(task),
        TaskType::ForEach(task) => each(&task.values, scope, &task.tasks, task.concurrency_limit)?,
        TaskType::EachSequential(task) => each(&task.values, scope, &task.tasks, 1)?,
        TaskType::EachParallel(task) => each(&task.values, scope, &task.tasks, task.concurrent)?,
        _ => return Ok(None),
    }))
}

fn each<'a>(values: &Values, scope: &Scope, tasks: &'a [Task], limit: u32) -> Result<Branch<'a>, Diagnostic> {
    Ok(Branch::Loop { values: values.resolve(scope)?, tasks, limit })
}
