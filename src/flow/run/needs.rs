//! Which outputs the expressions of a flow mention, and whether the run history holds them.

use std::collections::HashSet;

use serde_json::Value as Json;

use super::history::LEFT_OUT;
use crate::flow::context::storage;
use crate::flow::context::task_run::Outputs;
use crate::flow::yaml::document::{Document, Node, YamlValue};
use crate::secrets;

/// Why a value is lacking that the run history masks.
const SECRET: &str = "a secret, which the run history does not hold";

/// The outputs that expressions mention, each as a path of keys. An empty path stands for all outputs.
#[derive(Debug, Default)]
pub(crate) struct Needs(HashSet<Vec<String>>);

/// Reads the expressions of a flow.
struct Reader<'a> {
    /// The tasks that do not run.
    without: &'a HashSet<&'a str>,
    outputs: HashSet<Vec<String>>,
    /// The variables that expressions mention, each as a path of keys.
    variables: Vec<Vec<String>>,
}

impl Needs {
    /// The outputs that the flow mentions outside of the tasks that do not run.
    pub(crate) fn of(document: &Document, without: &HashSet<&str>) -> Self {
        let YamlValue::Map(entries) = &document.root.value else { return Self::default() };
        let mut reader = Reader { without, outputs: HashSet::new(), variables: Vec::new() };
        let mut variables: Vec<&(Node, Node)> = Vec::new();
        for (key, value) in entries {
            match &value.value {
                YamlValue::Map(own) if key.value.text() == Some("variables") => variables.extend(own),
                _ => reader.read(value),
            }
        }
        // a variable counts only if a task that runs, or another such variable, mentions it
        while let Some(path) = reader.variables.pop() {
            let is_mentioned = |key: &Node| {
                let key = key.value.text().unwrap_or_default();
                path.first().is_none_or(|part| names(part, key))
            };
            let (mentioned, others): (Vec<_>, Vec<_>) =
                variables.into_iter().partition(|(key, _)| is_mentioned(key));
            variables = others;
            mentioned.iter().for_each(|(_, value)| reader.read(value));
        }
        Self(reader.outputs)
    }
}

impl Reader<'_> {
    fn read(&mut self, node: &Node) {
        match &node.value {
            YamlValue::Text(text) => self.scan(text),
            YamlValue::List(items) => items.iter().for_each(|item| self.read(item)),
            YamlValue::Map(_) if id(node).is_some_and(|id| self.without.contains(id)) => {}
            YamlValue::Map(entries) => entries.iter().for_each(|(_, value)| self.read(value)),
            YamlValue::Null | YamlValue::Bool(_) | YamlValue::Number(_) => {}
        }
    }

    /// Adds what the expressions and tags of a text mention.
    fn scan(&mut self, text: &str) {
        for (open, close) in [("{{", "}}"), ("{%", "%}")] {
            for inside in text.split(open).skip(1) {
                let expression = inside.split(close).next().unwrap_or_default();
                self.outputs.extend(mentions("outputs", expression));
                self.variables.extend(mentions("vars", expression));
            }
        }
    }
}

/// The paths of keys after each mention of a variable in an expression.
fn mentions(name: &str, expression: &str) -> Vec<Vec<String>> {
    let is_part = |character: char| character.is_alphanumeric() || matches!(character, '_' | '.' | '-');
    let path = |(start, _): (usize, &str)| {
        let rest = &expression[start + name.len()..];
        let is_name = !expression[..start].ends_with(is_part)
            && !rest.starts_with(|character: char| character.is_alphanumeric() || character == '_');
        is_name.then(|| path(rest))
    };
    expression.match_indices(name).filter_map(path).collect()
}

impl Needs {
    /// The first needed output of a task that the run history does not hold, and why. `loops` are the values of the
    /// loops around the task, which come before the outputs' names.
    pub(crate) fn lacking(
        &self,
        id: &str,
        loops: &[String],
        outputs: &Outputs,
    ) -> Option<(String, &'static str)> {
        self.0.iter().find_map(|path| {
            let rest = match path.split_first() {
                Some((first, rest)) if names(first, id) => rest.get(loops.len()..).unwrap_or_default(),
                Some(_) => return None,
                None => &[],
            };
            if loops.iter().any(|value| value.contains(secrets::MASK)) {
                return Some((format!("outputs.{id}"), SECRET));
            }
            lacking(&format!("outputs.{id}"), &Json::Object(outputs.clone()), rest)
        })
    }
}

fn id(node: &Node) -> Option<&str> {
    let YamlValue::Map(entries) = &node.value else { return None };
    entries.iter().find(|(key, _)| key.value.text() == Some("id")).and_then(|(_, value)| value.value.text())
}

/// Whether a part of an expression names the key: `a-1` may be the key `a-1`, or `a` minus 1.
fn names(part: &str, key: &str) -> bool {
    part.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// The keys that an expression continues with: `.name`, `['name']` and `["name"]`.
fn path(mut rest: &str) -> Vec<String> {
    let mut path = Vec::new();
    loop {
        let quoted = |quote: char| rest.strip_prefix('[')?.strip_prefix(quote)?.split_once([quote]);
        if let Some((key, after)) = quoted('\'').or_else(|| quoted('"')) {
            let Some(after) = after.strip_prefix(']') else { return path };
            path.push(key.to_owned());
            rest = after;
        } else if let Some(after) = rest.strip_prefix('.') {
            let is_part = |character: char| character.is_alphanumeric() || matches!(character, '_' | '-');
            let end = after.find(|character| !is_part(character)).unwrap_or(after.len());
            if end == 0 {
                return path;
            }
            path.push(after[..end].to_owned());
            rest = &after[end..];
        } else {
            return path;
        }
    }
}

/// The first value at or below the path that the run history does not hold.
fn lacking(name: &str, value: &Json, path: &[String]) -> Option<(String, &'static str)> {
    match value {
        Json::String(text) if text.contains(secrets::MASK) => Some((name.to_owned(), SECRET)),
        Json::String(text) if storage::is_gone(text) => {
            Some((name.to_owned(), "a file that taxi removed when the earlier run ended"))
        }
        Json::Array(items) => items.iter().enumerate().find_map(|(index, item)| {
            lacking(&format!("{name}[{index}]"), item, path.get(1..).unwrap_or_default())
        }),
        Json::Object(entries) if entries.keys().any(|key| key.contains(secrets::MASK)) => {
            Some((name.to_owned(), SECRET))
        }
        Json::Object(entries) if entries.contains_key(LEFT_OUT) => {
            Some((name.to_owned(), "which was too large for the run history"))
        }
        Json::Object(entries) => {
            let wanted = |key: &str| path.first().is_none_or(|part| names(part, key));
            entries.iter().filter(|(key, _)| wanted(key)).find_map(|(key, value)| {
                lacking(&format!("{name}.{key}"), value, path.get(1..).unwrap_or_default())
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lacking_of(text: &str, outputs: &Json) -> Option<String> {
        let without = HashSet::new();
        let mut reader = Reader { without: &without, outputs: HashSet::new(), variables: Vec::new() };
        reader.scan(text);
        Needs(reader.outputs).lacking("a", &[], outputs.as_object().unwrap()).map(|(name, _)| name)
    }

    #[test]
    fn only_mentioned_outputs_are_needed() {
        let outputs =
            json!({ "uri": "/tmp/taxi-flow-x/files/0/a.csv", "rowCount": 3, "vars": { "key": "x******" } });
        for (text, expected) in [
            ("{{ outputs.a.rowCount }} outputs", None),
            ("outputs.a.uri", None),
            ("echo '::{\"outputs\": {\"x\": \"{{ outputs.a.rowCount }}\"}}::'", None),
            ("{{ outputs.b.uri ~ execution.outputs.a.uri ~ my_outputs.a }}", None),
            ("{{ outputs.a.uri }}", Some("outputs.a.uri")),
            ("{{ outputs.a['uri'] }}", Some("outputs.a.uri")),
            ("{{ outputs['a'].vars[x] }}", Some("outputs.a.vars.key")),
            ("{{ outputs.a.rowCount-1 }} {{ outputs.a.vars.key | upper }}", Some("outputs.a.vars.key")),
            ("{{ outputs[inputs.task].rowCount }}", Some("outputs.a.uri")),
            ("{% for x in outputs %}{% endfor %}", Some("outputs.a.uri")),
        ] {
            assert_eq!(lacking_of(text, &outputs).as_deref(), expected, "{text}");
        }
        assert_eq!(
            lacking_of("{{ outputs.a.rows }}", &json!({ LEFT_OUT: "" })).as_deref(),
            Some("outputs.a")
        );
    }
}
