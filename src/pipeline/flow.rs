//! A flow: the document's nodes as types, every fault of it reported at once.

use include_dir::{Dir, include_dir};

use super::document::{Diagnostic, Document, Node, Position, Value};
use super::expression::Template;
use super::inputs::{Input, InputType};
use super::task::{LoadCsv, Task, TaskType};
use crate::error::{Error, Kind, Result};

static PIPELINES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/pipelines");

/// A pipeline as declared.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Its name within the namespace.
    pub id: String,
    /// Where the name belongs.
    pub namespace: String,
    /// What a run must be given.
    pub inputs: Vec<Input>,
    /// The node under `variables`.
    pub variables: Option<Node>,
    /// What a run does, in order.
    pub tasks: Vec<Task>,
    document: Document,
}

impl Flow {
    /// The pipeline `pipelines/<id>.yaml` that is part of this program.
    pub fn builtin(id: &str) -> Result<Self> {
        let name = format!("{id}.yaml");
        let text = PIPELINES.get_file(&name).and_then(|file| file.contents_utf8());
        let text =
            text.ok_or_else(|| Error::new(Kind::Internal, format!("there is no built-in pipeline {id}")))?;
        Self::parse(&format!("pipelines/{name}"), text)
    }

    /// Reads a flow's text; `name` is the file's, for errors.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let document = Document::parse(name, text)?;
        let mut decoder = Decoder::default();
        let flow = decoder.flow(&document);
        match flow {
            Some(flow) if decoder.diagnostics.is_empty() => Ok(flow),
            _ => Err(document.faults(decoder.diagnostics)),
        }
    }

    /// `namespace.id`
    pub fn name(&self) -> String {
        format!("{}.{}", self.namespace, self.id)
    }

    /// The taxi types that `given` stands for: all that the flow knows, or the one.
    pub fn taxi_types<'a>(&'a self, given: &'a str) -> Vec<&'a str> {
        let declared = self.inputs.iter().find(|input| input.id == "taxi").map(|input| &input.input_type);
        match declared {
            Some(InputType::Select { values, .. }) if given == "all" => {
                values.iter().map(String::as_str).collect()
            }
            _ => vec![given],
        }
    }

    /// An error for faults that show only when the flow is planned.
    pub fn faults(&self, diagnostics: Vec<Diagnostic>) -> Error {
        self.document.faults(diagnostics)
    }
}

/// Reads nodes as types and gathers what is wrong with them.
#[derive(Default)]
struct Decoder {
    diagnostics: Vec<Diagnostic>,
}

/// The entries of a mapping that have not been read yet.
struct Fields<'a> {
    position: Position,
    what: String,
    entries: Vec<(&'a Node, &'a str, &'a Node)>,
}

impl<'a> Fields<'a> {
    fn take(&mut self, name: &str) -> Option<&'a Node> {
        let index = self.entries.iter().position(|(_, key, _)| *key == name)?;
        Some(self.entries.remove(index).2)
    }
}

impl Decoder {
    fn flow(&mut self, document: &Document) -> Option<Flow> {
        let mut fields = self.fields(&document.root, "a flow")?;
        let id = self.required_text(&mut fields, "id");
        let namespace = self.required_text(&mut fields, "namespace");
        fields.take("description").and_then(|node| self.text(node));
        let inputs = fields.take("inputs").map(|node| self.list(node, Self::input)).unwrap_or_default();
        let variables = fields.take("variables").cloned();
        if let Some(node) = &variables {
            self.fields(node, "variables");
        }
        let tasks = match fields.take("tasks") {
            Some(node) => self.list(node, Self::task),
            None => {
                self.refuse::<()>(fields.position, "a flow needs tasks");
                Vec::new()
            }
        };
        self.end(fields);
        self.refuse_repeated_ids(document);
        Some(Flow {
            id: id?.text,
            namespace: namespace?.text,
            inputs,
            variables,
            tasks,
            document: document.clone(),
        })
    }

    fn input(&mut self, node: &Node) -> Option<Input> {
        let mut fields = self.fields(node, "an input")?;
        let id = self.required_text(&mut fields, "id");
        let type_name = self.required_text(&mut fields, "type");
        fields.take("displayName").and_then(|name| self.text(name));
        let default = fields.take("defaults").and_then(|value| self.text(value));
        let values = fields.take("values").map(|values| (values.position, self.list(values, Self::text)));
        let custom = fields.take("allowCustomValue").map(|node| (node.position, self.boolean(node)));
        let allow_custom_value = custom.is_some_and(|(_, allowed)| allowed == Some(true));
        if let (Some((at, _)), Some(name)) = (custom, &type_name)
            && name.text != "SELECT"
        {
            self.refuse::<()>(at, "only an input of type SELECT has allowCustomValue");
        }
        let input_type = type_name.and_then(|name| match (name.text.as_str(), values) {
            ("STRING", None) => Some(InputType::String),
            ("INT", None) => Some(InputType::Int),
            ("SELECT", Some((_, values))) => {
                let values = values.into_iter().map(|value| value.text).collect();
                Some(InputType::Select { values, allow_custom_value })
            }
            ("SELECT", None) => self.refuse(name.position, "an input of type SELECT needs values"),
            ("STRING" | "INT", Some((at, _))) => self.refuse(at, "only an input of type SELECT has values"),
            (other, _) => {
                let text = format!("the input type {other} is not supported; STRING, INT and SELECT are");
                self.refuse(name.position, &text)
            }
        });
        if let (Some(input_type), Some(default)) = (&input_type, &default)
            && let Some(why) = input_type.refuse(&default.text)
        {
            self.refuse::<()>(default.position, &format!("the default {why}"));
        }
        self.end(fields);
        Some(Input { id: id?.text, input_type: input_type?, default: default.map(|template| template.text) })
    }

    fn task(&mut self, node: &Node) -> Option<Task> {
        let mut fields = self.fields(node, "a task")?;
        let id = self.required_text(&mut fields, "id");
        fields.take("description").and_then(|description| self.text(description));
        let type_name = self.required_text(&mut fields, "type")?;
        let task_type = match type_name.text.as_str() {
            TaskType::CREATE_TABLES => {
                let sql = self.required_text(&mut fields, "sql");
                let table = self.required_text(&mut fields, "table");
                let staging_table = self.required_text(&mut fields, "stagingTable");
                self.end(fields);
                TaskType::CreateTables { sql: sql?, table: table?, staging_table: staging_table? }
            }
            TaskType::LOAD_CSV => {
                let from = self.required_text(&mut fields, "from");
                let table = self.required_text(&mut fields, "table");
                let staging_table = self.required_text(&mut fields, "stagingTable");
                let time_column = self.required_text(&mut fields, "timeColumn");
                let period = self.required_text(&mut fields, "period");
                let published_rows = fields.take("publishedRows").and_then(|rows| self.text(rows));
                let filename = self.required_text(&mut fields, "filename");
                let filename_column = self.required_text(&mut fields, "filenameColumn");
                let row_key_column = self.required_text(&mut fields, "rowKeyColumn");
                let row_key = self.required(&mut fields, "rowKey").map(|node| self.list(node, Self::text));
                self.end(fields);
                TaskType::LoadCsv(Box::new(LoadCsv {
                    from: from?,
                    table: table?,
                    staging_table: staging_table?,
                    time_column: time_column?,
                    period: period?,
                    published_rows,
                    filename: filename?,
                    filename_column: filename_column?,
                    row_key_column: row_key_column?,
                    row_key: row_key?,
                }))
            }
            other => {
                let known = [TaskType::CREATE_TABLES, TaskType::LOAD_CSV].join(" and ");
                let text = format!("the task type {other} is not supported; {known} are");
                return self.refuse(type_name.position, &text);
            }
        };
        Some(Task { id: id?.text, task_type })
    }

    fn refuse_repeated_ids(&mut self, document: &Document) {
        let Value::Map(entries) = &document.root.value else { return };
        for (_, node) in entries.iter().filter(|(key, _)| matches!(key_text(key), Some("inputs" | "tasks"))) {
            let Value::List(items) = &node.value else { continue };
            let mut seen = Vec::new();
            for item in items {
                let Value::Map(fields) = &item.value else { continue };
                let id = fields.iter().find(|(key, _)| key_text(key) == Some("id"));
                let Some((_, Node { value: Value::Text(id), position })) = id else { continue };
                if seen.contains(&id) {
                    self.refuse::<()>(*position, &format!("the id {id} is taken already"));
                }
                seen.push(id);
            }
        }
    }

    fn fields<'a>(&mut self, node: &'a Node, what: &str) -> Option<Fields<'a>> {
        let Value::Map(entries) = &node.value else {
            return self
                .refuse(node.position, &format!("{what} is a mapping, this is {}", node.value.kind()));
        };
        let mut named = Vec::new();
        for (key, value) in entries {
            match key_text(key) {
                Some(name) => named.push((key, name, value)),
                None => {
                    self.refuse::<()>(key.position, &format!("a key is text, this is {}", key.value.kind()));
                }
            }
        }
        Some(Fields { position: node.position, what: what.to_owned(), entries: named })
    }

    /// Refuses the properties that nobody has read.
    fn end(&mut self, fields: Fields<'_>) {
        for (key, name, _) in &fields.entries {
            let text = format!("{} with the property {name} is not supported", fields.what);
            self.refuse::<()>(key.position, &text);
        }
    }

    fn required<'a>(&mut self, fields: &mut Fields<'a>, name: &str) -> Option<&'a Node> {
        let node = fields.take(name);
        if node.is_none() {
            self.refuse::<()>(fields.position, &format!("{} needs the property {name}", fields.what));
        }
        node
    }

    fn required_text(&mut self, fields: &mut Fields<'_>, name: &str) -> Option<Template> {
        self.required(fields, name).and_then(|node| self.text(node))
    }

    fn text(&mut self, node: &Node) -> Option<Template> {
        match &node.value {
            Value::Text(text) | Value::Number(text) => {
                Some(Template { text: text.clone(), position: node.position })
            }
            other => self.refuse(node.position, &format!("this must be text, it is {}", other.kind())),
        }
    }

    fn boolean(&mut self, node: &Node) -> Option<bool> {
        match &node.value {
            Value::Bool(value) => Some(*value),
            other => {
                self.refuse(node.position, &format!("this must be true or false, it is {}", other.kind()))
            }
        }
    }

    fn list<T>(&mut self, node: &Node, mut read: impl FnMut(&mut Self, &Node) -> Option<T>) -> Vec<T> {
        match &node.value {
            Value::List(items) => items.iter().filter_map(|item| read(self, item)).collect(),
            other => {
                self.refuse::<()>(node.position, &format!("this must be a list, it is {}", other.kind()));
                Vec::new()
            }
        }
    }

    fn refuse<T>(&mut self, position: Position, message: &str) -> Option<T> {
        self.diagnostics.push(Diagnostic { position, message: message.to_owned() });
        None
    }
}

fn key_text(key: &Node) -> Option<&str> {
    match &key.value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_pipelines_are_sound() {
        for file in PIPELINES.files() {
            let id = file.path().file_stem().and_then(|stem| stem.to_str()).unwrap();
            assert_eq!(Flow::builtin(id).unwrap().id, id);
        }
    }

    #[test]
    fn every_fault_is_reported_at_its_place() {
        let text = "\
id: broken
inputs:
  - id: year
    type: YEAR
  - id: month
    type: SELECT
    values: [\"01\"]
    defaults: \"13\"
  - id: month
    type: STRING
labels: {a: b}
tasks:
  - id: one
    type: io.kestra.plugin.core.log.Log
  - id: two
    type: taxi.postgresql.CreateTables
    sql: [x]
";
        let error = Flow::parse("broken.yaml", text).unwrap_err().to_string();
        for fault in [
            "broken.yaml:1:1: a flow needs the property namespace",
            "broken.yaml:4:11: the input type YEAR is not supported",
            "broken.yaml:8:15: the default \"13\" is not one of 01",
            "broken.yaml:9:9: the id month is taken already",
            "broken.yaml:11:1: a flow with the property labels is not supported",
            "broken.yaml:14:11: the task type io.kestra.plugin.core.log.Log is not supported",
            "broken.yaml:17:10: this must be text, it is a list",
            "broken.yaml:15:5: a task needs the property table",
        ] {
            assert!(error.contains(fault), "missing: {fault}\n{error}");
        }
    }
}
