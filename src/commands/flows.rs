//! `taxi validate`, `taxi show`, `taxi triggers`, `taxi schema`: commands that read a flow without running it.

use std::path::Path;

use jiff::Zoned;
use serde::Serialize;

use crate::cli::{SchemaArgs, ShowArgs, TriggersArgs, ValidateArgs, ValidateOutput, View};
use crate::error::{Error, Kind, Result};
use crate::flow::expression::catalog::{ENTRIES, Entry};
use crate::flow::expression::dates;
use crate::flow::model::flow::Flow;
use crate::flow::model::topology;
use crate::flow::model::trigger::{ScheduleTrigger, Trigger};
use crate::flow::yaml::document::{Diagnostic, Position};
use crate::flow::{reference, schema};
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
    faults: Vec<Found>,
    notes: Vec<Found>,
}

/// A fault or a note.
#[derive(Serialize)]
struct Found {
    line: u64,
    column: u64,
    message: String,
}

impl From<&Diagnostic> for Found {
    fn from(diagnostic: &Diagnostic) -> Self {
        let Position { line, column } = diagnostic.position;
        Self { line, column, message: diagnostic.message.clone() }
    }
}

/// Reads each flow and reports its faults.
pub(crate) fn validate(args: &ValidateArgs) -> Result<CommandOutput> {
    let mut validated_files = Vec::new();
    let mut messages = Vec::new();
    let mut note_count = 0;
    for path in &args.flows {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|cause| Error::file("read", path, cause))?;
        let (flow, found, notes) = match Flow::check(&file, &text) {
            Ok(flow) => (Some(flow.name()), Vec::new(), flow.notes().to_vec()),
            Err(faults) => {
                messages.push(faults.to_string());
                (None, faults.found, faults.notes)
            }
        };
        note_count += notes.len();
        let (faults, notes) =
            (found.iter().map(Found::from).collect(), notes.iter().map(Found::from).collect());
        validated_files.push(ValidatedFile { file, flow, faults, notes });
    }
    if messages.is_empty() && args.strict && note_count > 0 {
        messages.push(format!("{note_count} notes, which --strict does not allow"));
    }
    let error = (!messages.is_empty()).then(|| Error::new(Kind::Configuration, messages.join("\n")));
    let text = if args.output == ValidateOutput::Github { workflow_commands } else { text };
    let status = if error.is_some() { "failed" } else { "valid" };
    let validated = Validated { status, files: validated_files, error: error.as_ref().map(Failure::of) };
    Ok(CommandOutput::new(&validated, text)?.with_error(error))
}

/// Workflow commands of GitHub Actions: one for each fault and each note.
fn workflow_commands(validated: &Validated) -> String {
    let escaped = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let commands = validated.files.iter().flat_map(|file| {
        let name = escaped(&file.file).replace(':', "%3A").replace(',', "%2C");
        let command = move |kind: &str, found: &Found| {
            format!(
                "::{kind} file={name},line={},col={}::{}",
                found.line,
                found.column,
                escaped(&found.message)
            )
        };
        let faults = file.faults.iter().map(|fault| command("error", fault)).collect::<Vec<_>>();
        let notes = file.notes.iter().map(|note| command("notice", note));
        faults.into_iter().chain(notes).collect::<Vec<_>>()
    });
    commands.collect::<Vec<_>>().join("\n")
}

fn text(validated: &Validated) -> String {
    let lines = validated.files.iter().flat_map(|file| {
        let note =
            |note: &Found| format!("{}:{}:{}: note: {}", file.file, note.line, note.column, note.message);
        let valid = file.flow.as_ref().map(|flow| format!("{}: {flow} is valid", file.file));
        file.notes.iter().map(note).chain(valid).collect::<Vec<_>>()
    });
    lines.collect::<Vec<_>>().join("\n")
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

#[derive(Serialize)]
struct ExpressionEntry {
    role: &'static str,
    name: &'static str,
    arguments: &'static [&'static str],
    returns: &'static str,
    example: &'static str,
    result: &'static str,
}

/// The JSON Schema of flows, or the functions, filters and tests of expressions.
pub(crate) fn json_schema(args: &SchemaArgs) -> Result<CommandOutput> {
    if args.expressions {
        let entry = |entry: &Entry| {
            let &Entry { role, name, arguments, about, example, result, .. } = entry;
            ExpressionEntry { role: role.name(), name, arguments, returns: about, example, result }
        };
        let entries: Vec<ExpressionEntry> = ENTRIES.iter().map(entry).collect();
        return CommandOutput::new(&entries, |_| reference::expressions());
    }
    if args.properties {
        return CommandOutput::new(&reference::rows(), |_| reference::properties());
    }
    CommandOutput::new(&schema::of_flow(), |schema| format!("{schema:#}"))
}

#[derive(Serialize)]
struct Triggers {
    flow: String,
    triggers: Vec<Upcoming>,
}

/// A trigger: a schedule with its dates, or one that waits for an event.
#[derive(Serialize)]
struct Upcoming {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cron: Option<String>,
    disabled: bool,
    dates: Vec<String>,
    crontab: Vec<String>,
}

impl Upcoming {
    fn of(trigger: &Trigger, flow: &Flow, args: &TriggersArgs) -> Self {
        match trigger {
            Trigger::Schedule(trigger) => {
                let has_zone = |other: &Trigger| other.schedule().is_some_and(|other| other.zone.is_some());
                let dates = trigger.dates_from(&Zoned::now()).take(args.count);
                Self {
                    id: trigger.id.0.clone(),
                    kind: trigger.kind.clone(),
                    cron: Some(trigger.written.text.clone()),
                    disabled: trigger.disabled,
                    dates: dates.map(|date| dates::text(&date)).collect(),
                    crontab: crontab(trigger, &args.flow, flow.triggers.iter().any(has_zone)),
                }
            }
            Trigger::Event(trigger) => Self {
                id: trigger.id.0.clone(),
                kind: trigger.kind.clone(),
                cron: None,
                disabled: trigger.disabled,
                dates: Vec::new(),
                crontab: Vec::new(),
            },
        }
    }

    fn text(&self) -> String {
        let disabled = if self.disabled { " (disabled)" } else { "" };
        let Some(cron) = &self.cron else {
            return format!(
                "{}{disabled}, {}\n  waits for an event: taxi listens to none",
                self.id, self.kind
            );
        };
        let lines = self.dates.iter().map(|date| format!("  {date}"));
        let lines: Vec<String> = lines.chain(self.crontab.clone()).collect();
        format!("{}{disabled}, {cron}\n{}", self.id, lines.join("\n"))
    }
}

/// The next dates of each trigger, and its equivalent crontab lines.
pub(crate) fn triggers(args: &TriggersArgs) -> Result<CommandOutput> {
    let flow = Flow::read(&args.flow)?;
    let triggers = flow.triggers.iter().map(|trigger| Upcoming::of(trigger, &flow, args)).collect();
    CommandOutput::new(&Triggers { flow: flow.name(), triggers }, |listed| {
        if listed.triggers.is_empty() {
            return format!("{} has no triggers", listed.flow);
        }
        listed.triggers.iter().map(Upcoming::text).collect::<Vec<_>>().join("\n\n")
    })
}

/// Whether cron supports the expression: it has none of the extensions L, W, LW and #. `JUL` and `WED` are names.
fn is_plain_cron(text: &str) -> bool {
    let mut words = text.split(|character: char| !character.is_ascii_alphabetic());
    !text.contains('#') && !words.any(|word| matches!(word, "L" | "W" | "LW"))
}

/// The crontab lines of a trigger. cron does not support all of a trigger's expression syntax. A `CRON_TZ` line
/// applies to all lines after it, so if any trigger of the flow has a time zone, every trigger sets its own.
fn crontab(trigger: &ScheduleTrigger, flow: &Path, with_zone: bool) -> Vec<String> {
    if trigger.disabled {
        return Vec::new();
    }
    let unsupported =
        |what: &str| vec![format!("# cron does not support {what}; use 'taxi backfill' or an orchestrator")];
    if trigger.with_seconds {
        return unsupported("seconds");
    }
    if !trigger.conditions.is_empty() || trigger.when.is_some() {
        return unsupported("conditions");
    }
    if !is_plain_cron(&trigger.written.text) {
        return unsupported("L, W and #");
    }
    let path = std::path::absolute(flow).unwrap_or_else(|_| flow.to_owned());
    // cron turns an unescaped % into a newline
    let path = path.display().to_string().replace('\'', "'\\''").replace('%', "\\%");
    let line = format!("{} taxi run --quiet '{path}' --trigger {}", trigger.written.text, trigger.id.0);
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
