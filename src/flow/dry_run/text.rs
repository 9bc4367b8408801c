//! The plan of a run as text for people.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json};

use super::{Action, DryRun, PlannedTask};

/// Marks an item of a list.
const ITEM: &str = "-";

/// The plan as text.
pub(crate) fn text(plan: &DryRun) -> String {
    let mut out = plan.flow.clone();
    write_pairs("inputs", &plan.inputs, &mut out);
    write_pairs("labels", &plan.labels, &mut out);
    if let Some(date) = &plan.trigger_date {
        let _ = write!(out, "\n  trigger date: {date}");
    }
    write_tasks(&plan.tasks, 0, &mut out);
    for (heading, tasks) in
        [("after a failure (errors)", &plan.errors), ("at the end (finally)", &plan.finally)]
    {
        if !tasks.is_empty() {
            let _ = write!(out, "\n\n{heading}:");
            write_tasks(tasks, 0, &mut out);
        }
    }
    out
}

fn write_pairs(name: &str, pairs: &Map<String, Json>, out: &mut String) {
    let pairs: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default())).collect();
    if !pairs.is_empty() {
        let _ = write!(out, "\n  {name}: {}", pairs.join(" "));
    }
}

fn write_tasks(tasks: &[PlannedTask], depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    for task in tasks {
        let kind = task.task_type.rsplit('.').next().unwrap_or_default();
        let note = match task.action {
            Action::Run => "",
            Action::Skip => ", skipped: runIf is false",
            Action::Undecided => ", runs if runIf is true",
            Action::Disabled => ", disabled",
        };
        let gap = if depth == 0 { "\n" } else { "" };
        let _ = write!(out, "{gap}\n{indent}{} ({kind}{note})", task.task_id);
        for (name, value) in &task.properties {
            write_value(name, value, depth + 1, out);
        }
        for branch in &task.branches {
            let heading = match (&branch.value, branch.decided) {
                (Some(value), _) => format!("for {value}"),
                (None, true) => branch.branch.clone(),
                (None, false) => format!("{}, depends on outputs", branch.branch),
            };
            let _ = write!(out, "\n{indent}  -> {heading}");
            write_tasks(&branch.tasks, depth + 2, out);
        }
    }
}

/// Writes a property as YAML does.
fn write_value(name: &str, value: &Json, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    // an item of a list has no name
    let name = if name == ITEM { name.to_owned() } else { format!("{name}:") };
    match value {
        Json::String(text) if text.trim_end().contains('\n') => {
            let _ = write!(out, "\n{indent}{name} |");
            text.trim_end().lines().for_each(|line| {
                let _ = write!(out, "\n{}", format!("{indent}  {line}").trim_end());
            });
        }
        Json::String(text) => _ = write!(out, "\n{indent}{name} {}", text.trim_end()),
        Json::Array(items) => {
            let _ = write!(out, "\n{indent}{name}");
            items.iter().for_each(|item| write_value(ITEM, item, depth + 1, out));
        }
        Json::Object(entries) => {
            let _ = write!(out, "\n{indent}{name}");
            entries.iter().for_each(|(name, value)| write_value(name, value, depth + 1, out));
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => _ = write!(out, "\n{indent}{name} {value}"),
    }
}
