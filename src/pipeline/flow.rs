//! A flow: the document's nodes as types, every fault of it reported at once.

use std::collections::HashSet;
use std::path::Path;

use include_dir::{Dir, include_dir};

use super::decode::{Decode as _, Decoder, Defaults, Entries, Id, choices, properties};
use super::document::{Diagnostic, Document, Faults, Node, Value};
use super::expression::Template;
use super::inputs::Input;
use super::labels::Labels;
use super::retry::Retry;
use super::task::{Task, TaskType};
use super::trigger::Trigger;
use crate::error::{Error, Kind, Result};

static PIPELINES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/pipelines");

properties! {
    /// A pipeline, as Kestra declares a flow.
    pub struct Declaration as "a flow" {
        /// Its name within the namespace.
        "id" => id: Id,
        /// Where the name belongs.
        "namespace" => namespace: String,
        /// For people.
        "description" => description: Option<String> = None,
        /// What its runs are labelled with; a mapping, or a list of key and value.
        "labels" => labels: Labels = Labels::default(),
        /// What a run is given.
        "inputs" => inputs: Vec<Input> = Vec::new(),
        /// Values and templates for expressions, as `vars`.
        "variables" => variables: Option<Node> = None,
        /// What a run does, in order.
        "tasks" => tasks: Vec<Task>,
        /// What it does when a task has failed.
        "errors" => errors: Vec<Task> = Vec::new(),
        /// What it does at the end, however it has come to it.
        "finally" => finally: Vec<Task> = Vec::new(),
        /// What applies to the tasks of a type, or of all types below a name.
        "pluginDefaults" => plugin_defaults: Vec<PluginDefault> = Vec::new(),
        /// When it runs by itself.
        "triggers" => triggers: Vec<Trigger> = Vec::new(),
        /// How many runs of it there may be at a time.
        "concurrency" => concurrency: Option<Concurrency> = None,
        /// Whether and when failed tasks are tried again that do not say so themselves.
        "retry" => retry: Option<Retry> = None,
        /// Whether it refuses to run.
        "disabled" => disabled: bool = false,
    }
}

properties! {
    /// What applies to the tasks of a type.
    pub struct PluginDefault as "a default" {
        /// The type, or the beginning of several types' names.
        "type" => task_type: String,
        /// Properties and their values.
        "values" => values: Entries<Node>,
        /// Whether they apply even where a task says otherwise.
        "forced" => forced: bool = false,
    }
}

choices! {
    /// What a run does that would be one too many.
    pub enum Behavior {
        /// It waits.
        Queue = "QUEUE",
        /// It ends before it begins, as one that fails does.
        Cancel = "CANCEL",
        /// It fails.
        Fail = "FAIL",
    }
}

properties! {
    /// How many runs of a flow there may be at a time.
    pub struct Concurrency as "a concurrency" {
        /// So many.
        "limit" => limit: u32,
        /// What a run does that would be one too many.
        "behavior" => behavior: Behavior = Behavior::Queue,
    }
}

/// A pipeline as declared.
#[derive(Clone, Debug)]
pub struct Flow {
    declaration: Declaration,
    document: Document,
}

impl std::ops::Deref for Flow {
    type Target = Declaration;

    fn deref(&self) -> &Declaration {
        &self.declaration
    }
}

impl Flow {
    /// The pipeline `pipelines/<id>.yaml` that is part of this program.
    pub fn builtin(id: &str) -> Result<Self> {
        Self::find_builtin(id)?
            .ok_or_else(|| Error::new(Kind::Internal, format!("there is no built-in pipeline {id}")))
    }

    fn find_builtin(id: &str) -> Result<Option<Self>> {
        let name = format!("{id}.yaml");
        let text = PIPELINES.get_file(&name).and_then(|file| file.contents_utf8());
        text.map(|text| Self::parse(&format!("pipelines/{name}"), text)).transpose()
    }

    /// Reads a flow's text; `name` is the file's, for errors.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        Self::check(name, text).map_err(Error::from)
    }

    /// Reads a flow's file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|cause| match cause.kind() {
            std::io::ErrorKind::InvalidData => {
                Error::new(Kind::Configuration, format!("{} is not UTF-8 text", path.display()))
            }
            _ => Error::file("read", path, cause),
        })?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// The flow that another, whose file is `from`, calls by namespace and id: in a file beside it, else a built-in one.
    pub fn beside(from: &Path, namespace: &str, id: &str) -> Result<(Self, std::path::PathBuf)> {
        let folder = from.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let unreadable = |cause| Error::file("read", folder, cause);
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
                files.push(path);
            }
        }
        files.sort();
        // a file that is no sound flow is not the one that is meant
        let called = |flow: &Self| flow.id.0 == id && flow.namespace == namespace;
        let sound = files.into_iter().filter_map(|path| Some((Self::read(&path).ok()?, path)));
        if let Some(found) = sound.into_iter().find(|(flow, _)| called(flow)) {
            return Ok(found);
        }
        let builtin = Self::find_builtin(id)?.filter(called);
        builtin.map(|flow| (flow, from.to_owned())).ok_or_else(|| {
            let text = format!("there is no sound flow {namespace}.{id} in {}", folder.display());
            Error::new(Kind::Configuration, text)
                .hint("a subflow is looked for beside the flow that calls it")
        })
    }

    /// Reads a flow's text, and returns all that is wrong with it.
    pub fn check(name: &str, text: &str) -> Result<Self, Faults> {
        let document = Document::parse(name, text)?;
        let mut decoder = Decoder { defaults: defaults(&document.root), ..Decoder::default() };
        let declaration = Declaration::decode(&document.root, &mut decoder);
        if let Some(declaration) = &declaration {
            check(declaration, &document.root, &mut decoder);
        }
        match declaration {
            Some(declaration) if decoder.diagnostics.is_empty() => Ok(Self { declaration, document }),
            _ => Err(document.faults(decoder.diagnostics)),
        }
    }

    /// `namespace.id`
    pub fn name(&self) -> String {
        format!("{}.{}", self.namespace, self.id.0)
    }

    /// The taxi types that `given` stands for: all that the flow knows, or the one.
    pub fn taxi_types<'a>(&'a self, given: &'a str) -> Vec<&'a str> {
        let declared = self.inputs.iter().find(|input| input.id.0 == "taxi");
        match declared.and_then(|input| input.values.as_ref()) {
            Some(values) if given == "all" => values.iter().map(String::as_str).collect(),
            _ => vec![given],
        }
    }

    /// Calls `visit` with every task.
    pub fn walk<'a>(&'a self, mut visit: impl FnMut(&'a Task)) {
        let declared = &self.declaration;
        let tasks = declared.tasks.iter().chain(&declared.errors).chain(&declared.finally);
        tasks.for_each(|task| task.walk(&mut visit));
    }

    /// The trigger of an id.
    pub fn trigger(&self, id: &str) -> Result<&Trigger> {
        self.triggers.iter().find(|trigger| trigger.id.0 == id).ok_or_else(|| {
            let known: Vec<&str> = self.triggers.iter().map(|trigger| trigger.id.0.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Error::new(Kind::Usage, format!("the flow {} has no trigger {id:?}; it has {known}", self.name()))
        })
    }

    /// An error for faults that show only when the flow runs.
    pub fn faults(&self, diagnostics: Vec<Diagnostic>) -> Error {
        self.document.faults(diagnostics).into()
    }
}

/// What the flow says of the tasks of a type, read before the tasks are.
fn defaults(root: &Node) -> Vec<Defaults> {
    let Value::Map(entries) = &root.value else { return Vec::new() };
    let declared = entries.iter().find(|(key, _)| key.value.text() == Some("pluginDefaults"));
    let Some((_, Node { value: Value::List(declared), .. })) = declared else { return Vec::new() };
    let read = |node: &Node| {
        let Value::Map(entries) = &node.value else { return None };
        let find =
            |name| entries.iter().find(|(key, _)| key.value.text() == Some(name)).map(|(_, value)| value);
        let Value::Map(values) = &find("values")?.value else { return None };
        let forced = find("forced").is_some_and(|node| matches!(node.value, Value::Bool(true)));
        Some(Defaults { prefix: find("type")?.value.text()?.to_owned(), entries: values.clone(), forced })
    };
    declared.iter().filter_map(read).collect()
}

/// What can be judged only of the whole.
fn check(flow: &Declaration, root: &Node, decoder: &mut Decoder) {
    let Value::Map(entries) = &root.value else { return };
    let find = |name| entries.iter().find(|(key, _)| key.value.text() == Some(name)).map(|(_, value)| value);
    let items = |name| match find(name).map(|node| &node.value) {
        Some(Value::List(items)) => items.as_slice(),
        _ => &[],
    };
    if flow.tasks.is_empty() {
        decoder.refuse::<()>(find("tasks").unwrap_or(root).position, "a flow needs at least one task");
    }
    for (input, node) in flow.inputs.iter().zip(items("inputs")) {
        input.check(node, decoder);
    }
    for (default, node) in flow.plugin_defaults.iter().zip(items("pluginDefaults")) {
        let known = TaskType::properties_below(&default.task_type);
        if known.is_empty() {
            let text = format!("no task type that is supported begins with {}", default.task_type);
            decoder.refuse::<()>(node.position, text);
            continue;
        }
        for (name, value) in &default.values.0 {
            if !known.contains(&name.as_str()) {
                let text = format!("{} with the property {name} is not supported", default.task_type);
                decoder.refuse::<()>(value.position, text);
            }
        }
    }
    if let Some(variables) = &flow.variables {
        check_templates(variables, decoder);
        if !matches!(variables.value, Value::Map(_) | Value::Null) {
            let text = format!("variables are a mapping, this is {}", variables.value.kind());
            decoder.refuse::<()>(variables.position, text);
        }
    }
    if let Some(Concurrency { limit: 0, .. }) = flow.concurrency {
        let at = find("concurrency").unwrap_or(root).position;
        decoder.refuse::<()>(at, "a concurrency limit is at least 1");
    }
    for trigger in &flow.triggers {
        for (name, given) in &trigger.inputs.0 {
            let why = match flow.inputs.iter().find(|input| input.id.0 == *name) {
                Some(input) => input.refuse(&given.text).map(|why| format!("the input {name}: {why}")),
                None => Some(format!("there is no input {name}")),
            };
            if let Some(why) = why {
                decoder.refuse::<()>(given.position, why);
            }
        }
    }
    refuse_repeated(flow.inputs.iter().map(|input| &input.id).zip(items("inputs")), decoder);
    refuse_repeated(flow.triggers.iter().map(|trigger| &trigger.id).zip(items("triggers")), decoder);
    let retries = |retry: &Retry| retry.delay_factor > 0.0;
    if flow.retry.as_ref().is_some_and(|retry| !retries(retry)) {
        decoder.refuse::<()>(find("retry").unwrap_or(root).position, "a delayFactor is more than 0");
    }
    let mut seen = HashSet::new();
    let tasks = flow.tasks.iter().chain(&flow.errors).chain(&flow.finally);
    tasks.for_each(|task| {
        task.walk(&mut |task| {
            if !seen.insert(task.id()) {
                decoder.refuse::<()>(task.position, format!("the id {} is taken already", task.id()));
            }
            if task.common.retry.as_ref().is_some_and(|retry| !retries(retry)) {
                decoder.refuse::<()>(task.position, "a delayFactor is more than 0");
            }
            if let Some(connection) = task.kind.connection()
                && let (None, Some(alone)) =
                    (&connection.url, connection.username.as_ref().or(connection.password.as_ref()))
            {
                decoder.refuse::<()>(alone.position, "a username or a password is nothing without a url");
            }
        });
    });
}

fn refuse_repeated<'a>(ids: impl Iterator<Item = (&'a Id, &'a Node)>, decoder: &mut Decoder) {
    let mut seen = HashSet::new();
    for (id, node) in ids {
        if !seen.insert(id) {
            decoder.refuse::<()>(node.position, format!("the id {} is taken already", id.0));
        }
    }
}

/// Refuses the expressions that are none; what the others come to shows when they are rendered.
fn check_templates(node: &Node, decoder: &mut Decoder) {
    match &node.value {
        Value::Text(_) => _ = Template::decode(node, decoder),
        Value::List(items) => items.iter().for_each(|item| check_templates(item, decoder)),
        Value::Map(entries) => entries.iter().for_each(|(_, value)| check_templates(value, decoder)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_pipelines_are_sound() {
        for file in PIPELINES.files() {
            let id = file.path().file_stem().and_then(|stem| stem.to_str()).unwrap();
            assert_eq!(Flow::builtin(id).unwrap().id.0, id);
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
lables: {a: b}
tasks:
  - id: one
    type: io.kestra.plugin.core.log.Logs
  - id: two
    type: taxi.postgresql.CreateTables
    sql: [x]
";
        let error = Flow::parse("broken.yaml", text).unwrap_err().to_string();
        for fault in [
            "broken.yaml:1:1: a flow needs the property namespace",
            "broken.yaml:4:11: YEAR is none of what is supported here: STRING, INT,",
            "broken.yaml:11:1: a flow with the property lables is not supported; is labels meant?",
            "broken.yaml:14:11: the task type io.kestra.plugin.core.log.Logs is not supported",
            "broken.yaml:17:10: this must be text, it is a list",
            "broken.yaml:15:5: a task of type taxi.postgresql.CreateTables needs the property table",
        ] {
            assert!(error.contains(fault), "missing: {fault}\n{error}");
        }
        let mended = text
            .replace("YEAR", "INT")
            .replace("lables", "labels")
            .replace("[x]", "x")
            .replace("    sql", "    table: t\n    sql");
        let mended =
            mended.replace("log.Logs", "log.Log\n    message: m").replace("inputs:", "namespace: n\ninputs:");
        let error = Flow::parse("broken.yaml", &mended).unwrap_err().to_string();
        for fault in [
            "broken.yaml:9:15: the default \"13\" is not one of 01",
            "broken.yaml:10:5: the id month is taken already",
        ] {
            assert!(error.contains(fault), "missing: {fault}\n{error}");
        }
    }
}
