//! The reference tables of the documentation, made from the code. `TAXI_BLESS=1 cargo test --lib flow::reference` writes
//! them into `docs/flows.md` and `docs/flow-properties.md`.

use std::fmt::Write as _;

use serde::Serialize;

use super::expression::catalog::{ENTRIES, Entry, NOT_SERVED, Role};
use super::model::ending::{Check, FlowOutput, Listener, Sla};
use super::model::flow::{Concurrency, Declaration, PluginDefault};
use super::model::inputs::{DependsOn, Input};
use super::model::retry::Retry;
use super::model::services::SERVICES;
use super::model::task::{Common, TaskType};
use super::model::trigger::Schedule;
use super::yaml::decode::{Properties, Property};

/// The functions, filters and tests of expressions, as Markdown tables.
pub(crate) fn expressions() -> String {
    let mut out = String::new();
    for (role, heading) in
        [(Role::Function, "function"), (Role::Filter, "filter"), (Role::Test, "test, after `is`")]
    {
        let _ = writeln!(out, "| {heading} | returns | example | result |\n|---|---|---|---|");
        for entry in ENTRIES.iter().filter(|entry| entry.role == role) {
            let (call, example, result) = (code(&call(entry)), code(entry.example), code(entry.result));
            let _ = writeln!(out, "| {call} | {} | {example} | {result} |", entry.about);
        }
        out.push('\n');
    }
    out.push_str("| not supported | because |\n|---|---|\n");
    for (name, reason) in NOT_SERVED {
        let _ = writeln!(out, "| `{name}` | {reason} |");
    }
    out
}

/// How an expression calls the entry.
fn call(entry: &Entry) -> String {
    let arguments: Vec<String> = entry
        .arguments
        .iter()
        .map(|name| name.strip_suffix('?').map_or_else(|| (*name).to_owned(), |name| format!("[{name}]")))
        .collect();
    match (entry.role, arguments.is_empty()) {
        (Role::Function, _) | (_, false) => format!("{}({})", entry.name, arguments.join(", ")),
        (_, true) => entry.name.to_owned(),
    }
}

fn code(text: &str) -> String {
    let text = text.replace('\n', "\\n").replace('|', "\\|");
    match text.as_str() {
        "" => String::new(),
        text if text.contains('`') => format!("`` {text} ``"),
        text => format!("`{text}`"),
    }
}

/// A property of a flow, of one of its parts, or of a task type.
#[derive(Serialize)]
pub(crate) struct Row {
    #[serde(rename = "type")]
    owner: String,
    property: String,
    supported: &'static str,
    note: String,
}

/// The properties of flows and of all task types.
pub(crate) fn rows() -> Vec<Row> {
    let parts: [(&str, Vec<Property>); 12] = [
        ("flow", Declaration::properties()),
        ("flow, `inputs`", Input::properties()),
        ("flow, `inputs`, `dependsOn`", DependsOn::properties()),
        ("flow, `outputs`", FlowOutput::properties()),
        ("flow, `checks`", Check::properties()),
        ("flow, `sla`", Sla::properties()),
        ("flow, `listeners`", Listener::properties()),
        ("flow, `concurrency`", Concurrency::properties()),
        ("flow, `pluginDefaults`", PluginDefault::properties()),
        ("flow, `triggers`", Schedule::properties()),
        ("`retry`", Retry::properties()),
        ("every task", Common::properties()),
    ];
    let parts = parts.into_iter().map(|(owner, properties)| (owner.to_owned(), properties));
    let tasks = TaskType::schemas().into_iter().map(|(name, _, properties)| {
        let short = name.strip_prefix("io.kestra.plugin.").unwrap_or(name);
        (format!("`{short}`"), properties)
    });
    parts.chain(tasks).flat_map(|(owner, properties)| rows_of(&owner, &properties)).collect()
}

fn rows_of(owner: &str, properties: &[Property]) -> Vec<Row> {
    let row = |property: &Property| {
        let names = [property.name].into_iter().chain(property.aliases.iter().copied());
        let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
        let (supported, note) = match property.note {
            Some(reason) => ("no effect", reason),
            None if property.required => ("yes, required", property.about),
            None => ("yes", property.about),
        };
        let note = note.trim().split(". ").next().unwrap_or_default().trim_end_matches('.').to_owned();
        Row { owner: owner.to_owned(), property: names.join(" or "), supported, note }
    };
    match properties.is_empty() {
        true => vec![Row {
            owner: owner.to_owned(),
            property: String::new(),
            supported: "yes",
            note: "No properties of its own".to_owned(),
        }],
        false => properties.iter().map(row).collect(),
    }
}

/// The properties of flows and of all task types, and the plugins that are not supported, as Markdown tables.
pub(crate) fn properties() -> String {
    let mut out = "| type | property | supported | note |\n|---|---|---|---|\n".to_owned();
    for Row { owner, property, supported, note } in rows() {
        let _ = writeln!(out, "| {owner} | {property} | {supported} | {} |", note.replace('|', "\\|"));
    }
    out.push_str("\n| other types | need |\n|---|---|\n");
    for (prefix, needed) in SERVICES {
        let short = prefix.strip_prefix("io.kestra.plugin.").unwrap_or(prefix);
        let is_type = short.rsplit('.').next().is_some_and(|last| last.starts_with(char::is_uppercase));
        let pattern = if is_type { short.to_owned() } else { format!("{short}.*") };
        let _ = writeln!(out, "| `{pattern}` | {needed} |");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The file with the text between the marks of a table replaced.
    fn with_table(docs: &str, name: &str, table: &str) -> String {
        let (begin, end) =
            (format!("<!-- begin {name}: made from the code -->\n"), format!("<!-- end {name} -->"));
        let (before, rest) = docs.split_once(&begin).unwrap_or_else(|| panic!("no {begin}"));
        let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("no {end}"));
        format!("{before}{begin}\n{}\n\n{end}{after}", table.trim_end())
    }

    #[test]
    fn the_tables_of_the_documentation_are_those_of_the_code() {
        for (file, name, table) in [
            ("docs/flows.md", "expressions", expressions()),
            ("docs/flow-properties.md", "properties", properties()),
        ] {
            let path = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
            let docs = std::fs::read_to_string(&path).unwrap();
            let current = with_table(&docs, name, &table);
            if std::env::var_os("TAXI_BLESS").is_some() {
                std::fs::write(&path, &current).unwrap();
                continue;
            }
            let differing = docs.lines().zip(current.lines()).find(|(old, new)| old != new);
            assert!(
                docs == current,
                "{file} differs from the code: {differing:?}; TAXI_BLESS=1 cargo test --lib flow::reference writes it"
            );
        }
    }
}
