//! A flow as a diagram: a tree for the terminal, Mermaid for a web page.

use std::fmt::Write as _;

use crate::flow::model::flow::Flow;
use crate::flow::model::task::{Task, TaskType};
use crate::flow::model::trigger::Trigger;

/// The flow's own lists of tasks, each with its name.
fn branches(flow: &Flow) -> Vec<(String, &[Task])> {
    let mut branches = vec![("tasks".to_owned(), flow.tasks.as_slice())];
    branches.push(("errors".to_owned(), &flow.errors));
    branches.push(("finally".to_owned(), &flow.finally));
    branches.push(("afterExecution".to_owned(), &flow.after_execution));
    branches
        .extend(flow.listeners.iter().map(|listener| ("listeners".to_owned(), listener.tasks.as_slice())));
    branches.retain(|(_, tasks)| !tasks.is_empty());
    branches
}

/// The flow as a tree.
pub(crate) fn tree(flow: &Flow) -> String {
    let mut out = flow.name();
    for input in &flow.inputs {
        let default =
            input.default.as_ref().map(|default| format!(" = {}", default.text)).unwrap_or_default();
        let _ = write!(out, "\n  input {}{default}", input.id.0);
    }
    for trigger in &flow.triggers {
        let _ = match trigger {
            Trigger::Schedule(trigger) => {
                let zone = trigger.zone.as_ref().map(|zone| format!(" {}", zone.name)).unwrap_or_default();
                write!(out, "\n  trigger {} at {}{zone}", trigger.id.0, trigger.written.text)
            }
            Trigger::Event(trigger) => {
                write!(out, "\n  trigger {} after an event ({})", trigger.id.0, trigger.kind)
            }
        };
    }
    write_branches(&branches(flow), "", &mut out);
    out
}

fn write_branches(branches: &[(String, &[Task])], indent: &str, out: &mut String) {
    // a plain list of tasks needs no heading
    let is_plain = |name: &str| name == "tasks";
    let lines: usize =
        branches.iter().map(|(name, tasks)| if is_plain(name) { tasks.len() } else { 1 }).sum();
    let mut line = 0;
    for (name, tasks) in branches {
        if is_plain(name) {
            for task in *tasks {
                line += 1;
                write_task(task, indent, line == lines, out);
            }
        } else {
            line += 1;
            let is_last = line == lines;
            let _ = write!(out, "\n{indent}{} {name}", corner(is_last));
            let nested = format!("{indent}{}", stem(is_last));
            for (index, task) in tasks.iter().enumerate() {
                write_task(task, &nested, index + 1 == tasks.len(), out);
            }
        }
    }
}

fn write_task(task: &Task, indent: &str, is_last: bool, out: &mut String) {
    let disabled = if task.common.disabled { ", disabled" } else { "" };
    let _ = write!(out, "\n{indent}{} {} ({}{disabled})", corner(is_last), task.id(), kind(task));
    write_branches(&task.branches(), &format!("{indent}{}", stem(is_last)), out);
}

const fn corner(is_last: bool) -> &'static str {
    if is_last { "└──" } else { "├──" }
}

const fn stem(is_last: bool) -> &'static str {
    if is_last { "    " } else { "│   " }
}

/// The last part of the task type's name.
fn kind(task: &Task) -> &'static str {
    task.kind.name().rsplit('.').next().unwrap_or_default()
}

/// The flow as a Mermaid flowchart.
pub(crate) fn mermaid(flow: &Flow) -> String {
    let mut out = "flowchart TD".to_owned();
    for (name, tasks) in branches(flow) {
        let entry = chain(tasks, None, &mut out);
        if name != "tasks"
            && let Some(entry) = entry
        {
            let _ = write!(out, "\n  {name}(({name})) --> {entry}");
        }
    }
    out
}

/// Draws the tasks as a chain and returns the identifier of the first one.
fn chain(tasks: &[Task], from: Option<(&str, &str)>, out: &mut String) -> Option<String> {
    let mut previous: Option<String> = None;
    for task in tasks {
        let name = identifier(task.id());
        let _ = write!(out, "\n  {name}[\"{}<br>{}\"]", task.id(), kind(task));
        match (&previous, from) {
            (Some(previous), _) => _ = write!(out, "\n  {previous} --> {name}"),
            (None, Some((from, label))) => _ = write!(out, "\n  {from} -->|\"{}\"| {name}", escape(label)),
            (None, None) => {}
        }
        for (label, nested) in task.branches() {
            // parallel tasks are not connected to each other
            let is_parallel =
                matches!(task.kind, TaskType::Parallel(_) | TaskType::Dag(_)) && label == "tasks";
            for tasks in nested.chunks(if is_parallel { 1 } else { nested.len() }) {
                chain(tasks, Some((&name, &label)), out);
            }
        }
        previous = Some(name);
    }
    tasks.first().map(|task| identifier(task.id()))
}

/// A task id as a Mermaid identifier. A bare `end` would close a block, and `-` is part of an arrow.
fn identifier(id: &str) -> String {
    format!("t_{}", id.replace('-', "__"))
}

fn escape(text: &str) -> String {
    text.replace('"', "#quot;")
}
