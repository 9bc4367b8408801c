//! The position of a task run in the flow: its parent task runs and the values of its loops.

use std::path::Path;

use minijinja::{Value as Data, context};
use uuid::Uuid;

/// The environment of the tasks that a parent task runs.
#[derive(Clone, Copy)]
pub(crate) struct Frame<'a> {
    /// The enclosing frame.
    outer: Option<&'a Frame<'a>>,
    /// The id of the parent's task run.
    pub(crate) task_run: Option<Uuid>,
    /// The loop's current value, and the index of the iteration.
    iteration: Option<(&'a str, usize)>,
    /// The folder that the children of the parent share.
    shared_dir: Option<&'a Path>,
}

impl<'a> Frame<'a> {
    /// The frame of the flow itself.
    pub(crate) const fn root() -> Self {
        Self { outer: None, task_run: None, iteration: None, shared_dir: None }
    }

    /// The frame for the children of a task.
    pub(crate) const fn below(&'a self, task_run: Uuid) -> Self {
        Self { outer: Some(self), task_run: Some(task_run), iteration: None, shared_dir: self.shared_dir }
    }

    /// The frame for one iteration of a loop.
    pub(crate) const fn iteration(&'a self, task_run: Uuid, value: &'a str, index: usize) -> Self {
        let iteration = Some((value, index));
        Self { outer: Some(self), task_run: Some(task_run), iteration, shared_dir: self.shared_dir }
    }

    /// The same frame, whose tasks share a folder.
    pub(crate) const fn within(self, folder: &'a Path) -> Self {
        Self { shared_dir: Some(folder), ..self }
    }

    /// The folder that the tasks share.
    pub(crate) const fn shared_dir(&self) -> Option<&'a Path> {
        self.shared_dir
    }

    /// The values and iteration indexes of the loops, innermost first.
    pub(crate) fn values(&self) -> impl Iterator<Item = (&'a str, usize)> {
        let mut frame = Some(*self);
        std::iter::from_fn(move || {
            let current = frame?;
            frame = current.outer.copied();
            Some(current.iteration)
        })
        .flatten()
    }

    /// The values of the loops, outermost first.
    pub(crate) fn path(&self) -> Vec<&'a str> {
        let mut values: Vec<&str> = self.values().map(|(value, _)| value).collect();
        values.reverse();
        values
    }

    /// The name of a task run in messages: `load[green]`.
    pub(crate) fn name(&self, task_id: &str) -> String {
        self.path().iter().fold(task_id.to_owned(), |name, value| format!("{name}[{value}]"))
    }

    /// The parents that have a loop value, innermost first: `parents[0].taskrun.value`.
    ///
    /// A task directly in a loop has the value itself, as `taskrun.value`. For a task in an If in the loop, the
    /// parent is the If.
    pub(crate) fn parents(&self) -> Vec<Data> {
        let outer = self.outer.map(Frame::values).into_iter().flatten();
        outer.map(|(value, _)| context! { taskrun => context! { value => value } }).collect()
    }
}
