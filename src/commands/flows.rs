//! `taxi validate`, `taxi show`, `taxi triggers`, `taxi schema`: commands that read a flow without running it.

use std::path::{Path, PathBuf};

use jiff::Zoned;
use serde::Serialize;

use crate::cli::{ShowArgs, TriggersArgs, View};
use crate::error::{Error, Kind, Result};
use crate::flow::expression::dates;
use crate::flow::model::flow::Flow;
use crate::flow::model::topology;
use crate::flow::model::trigger::Trigger;
use crate::flow::schema;
use crate::report::failure::Failure;
use crate::report::output::CommandOutput;

#[derive(Serialize)]
struct Validated {
    status: &'static str,
    files: Vec<ValidatedFile>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
}

#[derive(Serialize)]
struct ValidatedFile {
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    flow: Option<String>,
    faults: Vec<FlowFault>,
}

#[derive(Serialize)]
struct FlowFault {
    line: u64,
    column: u64,
    message: String,
}

/// Reads each flow and reports its faults.
pub(crate) fn validate(files: &[PathBuf]) -> Result<CommandOutput> {
    let mut validated_files = Vec::new();
    let mut messages = Vec::new();
    for path in files {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|cause| Error::file("read", path, cause))?;
        match Flow::check(&file, &text) {
            Ok(flow) => {
                validated_files.push(ValidatedFile { file, flow: Some(flow.name()), faults: Vec::new() })
            }
            Err(faults) => {
                messages.push(faults.to_string());
                let faults = faults.found.into_iter().map(|fault| FlowFault {
                    line: fault.position.line,
                    column: fault.position.column,
                    message: fault.message,
                });
                validated_files.push(ValidatedFile { file, flow: None, faults: faults.collect() });
            }
        }
    }
    let error = (!messages.is_empty()).then(|| Error::new(Kind::Configuration, messages.join("\n")));
    let status = if error.is_some() { "failed" } else { "valid" };
    let validated = Validated { status, files: validated_files, error: error.as_ref().map(Failure::of) };
    let output = CommandOutput::new(&validated, |validated| {
        let valid = validated.files.iter().filter_map(|file| Some((file, file.flow.as_ref()?)));
        valid.map(|(file, flow)| format!("{}: {flow} is valid", file.file)).collect::<Vec<_>>().join("\n")
    })?;
    Ok(output.with_error(error))
}

#[derive(Serialize)]
struct Topology {
    flow: String,
    tree: String,
    mermaid: String,
}

/// Draws the flow.
pub(crate) fn show(args: &ShowArgs) -> Result<CommandOutput> {
    let flow = Flow::read(&args.flow)?;
    let topology =
        Topology { flow: flow.name(), tree: topology::tree(&flow), mermaid: topology::mermaid(&flow) };
    CommandOutput::new(&topology, |topology| match args.view {
        View::Tree => topology.tree.clone(),
        View::Mermaid => topology.mermaid.clone(),
    })
}

/// The JSON Schema of flows.
pub(crate) fn json_schema() -> Result<CommandOutput> {
    CommandOutput::new(&schema::of_flow(), |schema| format!("{schema:#}"))
}

#[derive(Serialize)]
struct Triggers {
    flow: String,
    triggers: Vec<Upcoming>,
}

#[derive(Serialize)]
struct Upcoming {
    id: String,
    cron: String,
    disabled: bool,
    dates: Vec<String>,
    crontab: Vec<String>,
}

/// The next dates of each trigger, and its equivalent crontab lines.
pub(crate) fn triggers(args: &TriggersArgs) -> Result<CommandOutput> {
    let flow = Flow::read(&args.flow)?;
    let now = Zoned::now();
    let upcoming = |trigger: &Trigger| Upcoming {
        id: trigger.id.0.clone(),
        cron: trigger.cron.text.clone(),
        disabled: trigger.disabled,
        dates: trigger.dates_from(&now).take(args.count).map(|date| dates::text(&date)).collect(),
        crontab: crontab(trigger, &args.flow, flow.triggers.iter().any(|other| other.zone.is_some())),
    };
    let triggers = flow.triggers.iter().map(upcoming).collect();
    CommandOutput::new(&Triggers { flow: flow.name(), triggers }, |listed| {
        if listed.triggers.is_empty() {
            return format!("{} has no triggers", listed.flow);
        }
        let text = |trigger: &Upcoming| {
            let disabled = if trigger.disabled { " (disabled)" } else { "" };
            let lines = trigger.dates.iter().map(|date| format!("  {date}"));
            let lines: Vec<String> = lines.chain(trigger.crontab.clone()).collect();
            format!("{}{disabled}, {}\n{}", trigger.id, trigger.cron, lines.join("\n"))
        };
        listed.triggers.iter().map(text).collect::<Vec<_>>().join("\n\n")
    })
}

/// Whether cron supports the expression: it has none of the extensions L, W, LW and #. `JUL` and `WED` are names.
fn is_plain_cron(text: &str) -> bool {
    let mut words = text.split(|character: char| !character.is_ascii_alphabetic());
    !text.contains('#') && !words.any(|word| matches!(word, "L" | "W" | "LW"))
}

/// The crontab lines of a trigger. cron does not support all of a trigger's expression syntax. A `CRON_TZ` line
/// applies to all lines after it, so if any trigger of the flow has a time zone, every trigger sets its own.
fn crontab(trigger: &Trigger, flow: &Path, with_zone: bool) -> Vec<String> {
    if trigger.disabled {
        return Vec::new();
    }
    if !is_plain_cron(&trigger.cron.text) {
        return vec!["# cron does not support L, W and #; use 'taxi backfill' or an orchestrator".to_owned()];
    }
    let path = std::path::absolute(flow).unwrap_or_else(|_| flow.to_owned());
    // cron turns an unescaped % into a newline
    let path = path.display().to_string().replace('\'', "'\\''").replace('%', "\\%");
    let line = format!("{} taxi run --quiet '{path}' --trigger {}", trigger.cron.text, trigger.id.0);
    let zone = trigger.zone();
    let zone = zone.iana_name().filter(|_| with_zone).map(|zone| format!("CRON_TZ={zone}"));
    zone.into_iter().chain([line]).collect()
}

#[cfg(test)]
mod tests {
    use super::is_plain_cron;

    #[test]
    fn extensions_of_cron_are_told_from_names() {
        assert!(is_plain_cron("0 9 1 JUL WED") && is_plain_cron("*/5 * * * *"));
        for extended in ["0 9 L * *", "0 9 15W * *", "0 9 LW * *", "0 9 * * 5L", "0 9 * * 5#2"] {
            assert!(!is_plain_cron(extended), "{extended}");
        }
    }
}
