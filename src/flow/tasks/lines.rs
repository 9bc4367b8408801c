//! Lines by which commands hand results to the flow: `::{"outputs": {…}}::`, with `metrics` and `logs` beside or
//! instead of `outputs`.

use std::fmt::Write as _;

use serde_json::Value as Json;

use crate::flow::context::task_run::{Outputs, TaskRun};
use crate::report::event::Level;

/// Writes a line of a command's output to the task's log, or takes the results that it holds. Returns whether the
/// line was text.
pub(crate) fn take(run: &TaskRun<'_>, line: &str, vars: &mut Outputs) -> bool {
    let Some(results) = parse(line) else {
        run.log(Level::Info, line);
        return true;
    };
    for (name, value) in results {
        match (name.as_str(), value) {
            ("outputs", Json::Object(outputs)) => vars.extend(outputs),
            ("metrics", Json::Array(metrics)) => {
                metrics.iter().for_each(|metric| run.log(Level::Info, &metric_text(metric)));
            }
            ("logs", Json::Array(logs)) => logs.iter().for_each(|entry| log(run, entry)),
            _ => {}
        }
    }
    false
}

/// The results in a marked line. `None` if the line is text.
fn parse(line: &str) -> Option<Outputs> {
    let marked = line.strip_prefix("::")?.strip_suffix("::")?;
    let results: Outputs = serde_json::from_str(marked).ok()?;
    ["outputs", "metrics", "logs"].iter().any(|name| results.contains_key(*name)).then_some(results)
}

fn log(run: &TaskRun<'_>, entry: &Json) {
    let level = match entry["level"].as_str().unwrap_or_default().to_ascii_uppercase().as_str() {
        "ERROR" | "CRITICAL" | "FATAL" => Level::Error,
        "WARN" | "WARNING" => Level::Warning,
        _ => Level::Info,
    };
    run.log(level, &text(&entry["message"]));
}

/// A metric as a line of the log: `metric rows = 3 (counter, taxi: green)`.
fn metric_text(metric: &Json) -> String {
    let mut line = format!("metric {} = {}", text(&metric["name"]), text(&metric["value"]));
    let kind = metric["type"].as_str().unwrap_or("counter");
    let _ = write!(line, " ({kind}");
    for (name, value) in metric["tags"].as_object().into_iter().flatten() {
        let _ = write!(line, ", {name}: {}", text(value));
    }
    line.push(')');
    line
}

fn text(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_that_are_marked_and_hold_results_are_results() {
        for line in
            ["", "::", "::::", "::{}::", "::{\"x\": 1}::", "a ::{\"outputs\": {}}::", "::[1]::", "::{]::"]
        {
            assert!(parse(line).is_none(), "{line}");
        }
        assert_eq!(parse("::{\"outputs\": {\"a\": [1]}}::").unwrap()["outputs"]["a"][0], 1);
        assert!(parse("::{\"metrics\": []}::").is_some());
    }

    #[test]
    fn a_metric_is_a_line_with_its_tags() {
        let metric =
            serde_json::json!({ "name": "rows", "type": "timer", "value": 1.5, "tags": { "taxi": "green" } });
        assert_eq!(metric_text(&metric), "metric rows = 1.5 (timer, taxi: green)");
    }
}
