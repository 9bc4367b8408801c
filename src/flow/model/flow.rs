//! A flow: a document decoded into types. All of its faults are reported at once.

use std::collections::HashSet;
use std::path::Path;

use include_dir::{Dir, include_dir};

use crate::error::{Error, Kind, Result};
use crate::flow::expression::Template;
use crate::flow::model::inputs::Input;
use crate::flow::model::labels::Labels;
use crate::flow::model::retry::Retry;
use crate::flow::model::task::{Task, TaskType};
use crate::flow::model::trigger::Trigger;
use crate::flow::yaml::decode::{Decode as _, Decoder, Defaults, Entries, Id, choices, properties};
use crate::flow::yaml::document::{Diagnostic, Document, Faults, Node, YamlValue};

static PIPELINES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/pipelines");

properties! {
    /// A flow, declared with Kestra's grammar.
    pub(crate) struct Declaration as "a flow" {
        /// Id of the flow, unique within the namespace.
        "id" => id: Id,
        /// Namespace of the flow.
        "namespace" => namespace: String,
        /// Free-text description.
        "description" => description: Option<String> = None,
        /// Labels of the flow's runs: a mapping, or a list of keys and values.
        "labels" => labels: Labels = Labels::default(),
        /// Inputs of a run.
        "inputs" => inputs: Vec<Input> = Vec::new(),
        /// Values and templates that expressions read as `vars`.
        "variables" => variables: Option<Node> = None,
        /// Tasks of a run, in order.
        "tasks" => tasks: Vec<Task>,
        /// Tasks that run after a task has failed.
        "errors" => errors: Vec<Task> = Vec::new(),
        /// Tasks that run at the end of every run, whether it succeeded or failed.
        "finally" => finally: Vec<Task> = Vec::new(),
        /// Default property values for the tasks of a type, or of all types below a prefix.
        "pluginDefaults" => plugin_defaults: Vec<PluginDefault> = Vec::new(),
        /// Triggers that start the flow.
        "triggers" => triggers: Vec<Trigger> = Vec::new(),
        /// Limit on concurrent runs of the flow.
        "concurrency" => concurrency: Option<Concurrency> = None,
        /// Retry policy for tasks that do not declare their own.
        "retry" => retry: Option<Retry> = None,
        /// Whether the flow refuses to run.
        "disabled" => disabled: bool = false,
    }
}

properties! {
    /// Default property values for the tasks of a type.
    pub(crate) struct PluginDefault as "a default" {
        /// A task type, or a prefix of several task types.
        "type" => task_type: String,
        /// The properties and their values.
        "values" => values: Entries<Node>,
        /// Whether these values override those that a task sets itself.
        "forced" => forced: bool = false,
    }
}

choices! {
    /// What a run does if the concurrency limit is reached.
    pub(crate) enum LimitBehavior {
        /// The run waits.
        Queue = "QUEUE",
        /// The run ends before its first task, with an error like `FAIL`.
        Cancel = "CANCEL",
        /// The run fails.
        Fail = "FAIL",
    }
}

properties! {
    /// Limit on concurrent runs of a flow.
    pub(crate) struct Concurrency as "a concurrency" {
        /// Maximum number of concurrent runs.
        "limit" => limit: u32,
        /// What a run does if the limit is reached.
        "behavior" => behavior: LimitBehavior = LimitBehavior::Queue,
    }
}

/// A flow: its declaration and the document it was decoded from.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
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
    /// The pipeline `pipelines/<id>.yaml` that is built into this program.
    pub(crate) fn builtin(id: &str) -> Result<Self> {
        Self::find_builtin(id)?
            .ok_or_else(|| Error::new(Kind::Internal, format!("there is no built-in pipeline {id}")))
    }

    fn find_builtin(id: &str) -> Result<Option<Self>> {
        let name = format!("{id}.yaml");
        let text = PIPELINES.get_file(&name).and_then(|file| file.contents_utf8());
        text.map(|text| Self::parse(&format!("pipelines/{name}"), text)).transpose()
    }

    /// Parses a flow. `name` is the file name shown in errors.
    pub(crate) fn parse(name: &str, text: &str) -> Result<Self> {
        Self::check(name, text).map_err(Error::from)
    }

    /// Reads and parses a flow's file.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|cause| match cause.kind() {
            std::io::ErrorKind::InvalidData => {
                Error::new(Kind::Configuration, format!("{} is not UTF-8 text", path.display()))
            }
            _ => Error::file("read", path, cause),
        })?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// Finds the flow that the flow in the file `from` calls by namespace and id: first among the files in the
    /// same folder, then among the built-in flows.
    pub(crate) fn beside(from: &Path, namespace: &str, id: &str) -> Result<(Self, std::path::PathBuf)> {
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
        // skip files that are not valid flows: a subflow must be valid
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

    /// Parses a flow, or returns all of its faults.
    pub(crate) fn check(name: &str, text: &str) -> Result<Self, Faults> {
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

    /// The full name: `namespace.id`.
    pub(crate) fn name(&self) -> String {
        format!("{}.{}", self.namespace, self.id.0)
    }

    /// The taxi types that `given` selects: for `all` every type that the flow declares, otherwise just `given`.
    pub(crate) fn taxi_types<'a>(&'a self, given: &'a str) -> Vec<&'a str> {
        let declared = self.inputs.iter().find(|input| input.id.0 == "taxi");
        match declared.and_then(|input| input.values.as_ref()) {
            Some(values) if given == "all" => values.iter().map(String::as_str).collect(),
            _ => vec![given],
        }
    }

    /// Calls `visit` with every task.
    pub(crate) fn walk<'a>(&'a self, mut visit: impl FnMut(&'a Task)) {
        let declared = &self.declaration;
        let tasks = declared.tasks.iter().chain(&declared.errors).chain(&declared.finally);
        tasks.for_each(|task| task.walk(&mut visit));
    }

    /// The trigger with this id.
    pub(crate) fn trigger(&self, id: &str) -> Result<&Trigger> {
        self.triggers.iter().find(|trigger| trigger.id.0 == id).ok_or_else(|| {
            let known: Vec<&str> = self.triggers.iter().map(|trigger| trigger.id.0.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Error::new(Kind::Usage, format!("the flow {} has no trigger {id:?}; it has {known}", self.name()))
        })
    }

    /// The file that the flow was read from.
    pub(crate) fn document(&self) -> &Document {
        &self.document
    }

    /// Creates an error for faults that appear only when the flow runs.
    pub(crate) fn faults(&self, diagnostics: Vec<Diagnostic>) -> Error {
        self.document.faults(diagnostics).into()
    }
}

/// The `pluginDefaults` of the flow. They are read first because decoding a task needs them.
fn defaults(root: &Node) -> Vec<Defaults> {
    let YamlValue::Map(entries) = &root.value else { return Vec::new() };
    let declared = entries.iter().find(|(key, _)| key.value.text() == Some("pluginDefaults"));
    let Some((_, Node { value: YamlValue::List(declared), .. })) = declared else { return Vec::new() };
    let read = |node: &Node| {
        let YamlValue::Map(entries) = &node.value else { return None };
        let find =
            |name| entries.iter().find(|(key, _)| key.value.text() == Some(name)).map(|(_, value)| value);
        let YamlValue::Map(values) = &find("values")?.value else { return None };
        let forced = find("forced").is_some_and(|node| matches!(node.value, YamlValue::Bool(true)));
        Some(Defaults { prefix: find("type")?.value.text()?.to_owned(), entries: values.clone(), forced })
    };
    declared.iter().filter_map(read).collect()
}

/// Checks what can be checked only on the whole flow.
fn check(flow: &Declaration, root: &Node, decoder: &mut Decoder) {
    let YamlValue::Map(entries) = &root.value else { return };
    let find = |name| entries.iter().find(|(key, _)| key.value.text() == Some(name)).map(|(_, value)| value);
    let items = |name| match find(name).map(|node| &node.value) {
        Some(YamlValue::List(items)) => items.as_slice(),
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
        if !matches!(variables.value, YamlValue::Map(_) | YamlValue::Null) {
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

/// Refuses invalid expressions. A valid expression can still fail when it is rendered.
fn check_templates(node: &Node, decoder: &mut Decoder) {
    match &node.value {
        YamlValue::Text(_) => _ = Template::decode(node, decoder),
        YamlValue::List(items) => items.iter().for_each(|item| check_templates(item, decoder)),
        YamlValue::Map(entries) => entries.iter().for_each(|(_, value)| check_templates(value, decoder)),
        YamlValue::Null | YamlValue::Bool(_) | YamlValue::Number(_) => {}
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
