//! Where in the flow a task run stands: below which others, and for which values of loops.

use minijinja::{Value as Data, context};
use uuid::Uuid;

/// A task that runs others, as those see it.
#[derive(Clone, Copy)]
pub struct Frame<'a> {
    /// The one around it.
    outer: Option<&'a Frame<'a>>,
    /// Its task run.
    pub task_run: Option<Uuid>,
    /// The value that the loop is at, and the how-manieth that is.
    turn: Option<(&'a str, usize)>,
}

impl<'a> Frame<'a> {
    /// The flow itself.
    pub const fn root() -> Self {
        Self { outer: None, task_run: None, turn: None }
    }

    /// Below a task that runs others.
    pub const fn below(&'a self, task_run: Uuid) -> Self {
        Self { outer: Some(self), task_run: Some(task_run), turn: None }
    }

    /// Below a loop that is at this value.
    pub const fn turn_of(&'a self, task_run: Uuid, value: &'a str, iteration: usize) -> Self {
        Self { outer: Some(self), task_run: Some(task_run), turn: Some((value, iteration)) }
    }

    /// The values of the loops, the innermost first.
    pub fn values(&self) -> impl Iterator<Item = (&'a str, usize)> {
        let mut frame = Some(*self);
        std::iter::from_fn(move || {
            let current = frame?;
            frame = current.outer.copied();
            Some(current.turn)
        })
        .flatten()
    }

    /// The name of a task run for messages: `load[green]`.
    pub fn name(&self, task_id: &str) -> String {
        let mut values: Vec<&str> = self.values().map(|(value, _)| value).collect();
        values.reverse();
        values.iter().fold(task_id.to_owned(), |name, value| format!("{name}[{value}]"))
    }

    /// The tasks around this one that are for a value, the nearest first: `parents[0].taskrun.value`.
    ///
    /// A task right below a loop has its value itself, as `taskrun.value`; one below an If in the loop has the If for a parent.
    pub fn parents(&self) -> Vec<Data> {
        let outer = self.outer.map(Frame::values).into_iter().flatten();
        outer.map(|(value, _)| context! { taskrun => context! { value => value } }).collect()
    }
}
