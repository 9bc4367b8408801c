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
    /// A flow in Kestra's syntax.
    pub(crate) struct Declaration as "a flow" {
        /// Id of the flow, unique within the namespace.
        "id" => id: Id,
        /// Namespace of the flow.
        "namespace" => namespace: String,
        /// Free-text description.
        "description" => _description: Option<String> = None,
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
        /// Whether the flow is disabled. A disabled flow does not run.
        "disabled" => disabled: bool = false,
    }
}

properties! {
    /// Default property values for the tasks of a type.
    pub(crate) struct PluginDefault as "a plugin default" {
        /// A task type, or the common prefix of several task types.
        "type" => task_type: String,
        /// The properties and their values.
        "values" => values: Entries<Node>,
        /// Whether these values override the values that a task sets.
        "forced" => _forced: bool = false,
    }
}

choices! {
    /// What a new run does if the concurrency limit is reached.
    pub(crate) enum LimitBehavior {
        /// The run waits.
        Queue = "QUEUE",
        /// The run ends before its first task, with the same error as `FAIL`.
        Cancel = "CANCEL",
        /// The run fails.
        Fail = "FAIL",
    }
}

properties! {
    /// Limit on concurrent runs of a flow.
    pub(crate) struct Concurrency as "a concurrency limit" {
        /// Maximum number of concurrent runs.
        "limit" => limit: u32,
        /// What a new run does if the limit is reached.
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
            .ok_or_else(|| Error::new(Kind::Internal, format!("no built-in pipeline with the id {id:?}")))
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
                let text = format!("cannot read {}: the file is not valid UTF-8", path.display());
                Error::new(Kind::Configuration, text)
            }
            _ => Error::file("read", path, cause),
        })?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// Finds the flow that the flow in the file `from` calls by namespace and id: first among the files in the
    /// same folder, then among the built-in flows.
    pub(crate) fn find_subflow(from: &Path, namespace: &str, id: &str) -> Result<(Self, std::path::PathBuf)> {
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
        let is_subflow = |flow: &Self| flow.id.0 == id && flow.namespace == namespace;
        let valid = files.into_iter().filter_map(|path| Some((Self::read(&path).ok()?, path)));
        if let Some(found) = valid.into_iter().find(|(flow, _)| is_subflow(flow)) {
            return Ok(found);
        }
        let builtin = Self::find_builtin(id)?.filter(is_subflow);
        builtin.map(|flow| (flow, from.to_owned())).ok_or_else(|| {
            let text = format!("no valid flow {namespace}.{id} in {}", folder.display());
            Error::new(Kind::Configuration, text).hint(
                "put the file of the subflow in the folder of the flow that calls it, and check it with \
                 'taxi validate'",
            )
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

    /// The taxi types that `given` selects: every type that the flow declares for `all`, else only `given`.
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
            let text = format!("no trigger with the id {id:?} in the flow {}", self.name());
            Error::new(Kind::Usage, format!("{text}; known triggers: {known}"))
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
    let parse = |node: &Node| {
        let YamlValue::Map(entries) = &node.value else { return None };
        let find =
            |name| entries.iter().find(|(key, _)| key.value.text() == Some(name)).map(|(_, value)| value);
        let YamlValue::Map(values) = &find("values")?.value else { return None };
        let forced = find("forced").is_some_and(|node| matches!(node.value, YamlValue::Bool(true)));
        Some(Defaults { prefix: find("type")?.value.text()?.to_owned(), entries: values.clone(), forced })
    };
    declared.iter().filter_map(parse).collect()
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
            let text = format!("unsupported task type or prefix {:?}", default.task_type);
            decoder.refuse::<()>(node.position, text);
            continue;
        }
        for (name, value) in &default.values.0 {
            if !known.contains(&name.as_str()) {
                let text = format!("unknown property `{name}` for {}", default.task_type);
                decoder.refuse::<()>(value.position, text);
            }
        }
    }
    if let Some(variables) = &flow.variables {
        check_templates(variables, decoder);
        if !matches!(variables.value, YamlValue::Map(_) | YamlValue::Null) {
            let text = format!("expected a mapping for `variables`, found {}", variables.value.kind());
            decoder.refuse::<()>(variables.position, text);
        }
    }
    if let Some(Concurrency { limit: 0, .. }) = flow.concurrency {
        let position = find("concurrency").unwrap_or(root).position;
        decoder.refuse::<()>(position, "invalid concurrency limit 0: expected at least 1");
    }
    for trigger in &flow.triggers {
        for (name, given) in &trigger.inputs.0 {
            let fault = match flow.inputs.iter().find(|input| input.id.0 == *name) {
                Some(input) => input.refuse(&given.text).map(|expected| {
                    format!("invalid value {:?} for the input {name:?}: {expected}", given.text)
                }),
                None => Some(format!("no input with the id {name:?}")),
            };
            if let Some(fault) = fault {
                decoder.refuse::<()>(given.position, fault);
            }
        }
    }
    refuse_duplicates(flow.inputs.iter().map(|input| &input.id).zip(items("inputs")), decoder);
    refuse_duplicates(flow.triggers.iter().map(|trigger| &trigger.id).zip(items("triggers")), decoder);
    let has_valid_factor = |retry: &Retry| retry.delay_factor > 0.0;
    if flow.retry.as_ref().is_some_and(|retry| !has_valid_factor(retry)) {
        decoder.refuse::<()>(find("retry").unwrap_or(root).position, "`delayFactor` must be greater than 0");
    }
    let mut seen = HashSet::new();
    let tasks = flow.tasks.iter().chain(&flow.errors).chain(&flow.finally);
    tasks.for_each(|task| {
        task.walk(&mut |task| {
            if !seen.insert(task.id()) {
                decoder.refuse::<()>(task.position, format!("duplicate id {:?}", task.id()));
            }
            if task.common.retry.as_ref().is_some_and(|retry| !has_valid_factor(retry)) {
                decoder.refuse::<()>(task.position, "`delayFactor` must be greater than 0");
            }
            if let Some(connection) = task.kind.connection()
                && let (None, Some(credential)) =
                    (&connection.url, connection.username.as_ref().or(connection.password.as_ref()))
            {
                let text = "`username` and `password` require the property `url`";
                decoder.refuse::<()>(credential.position, text);
            }
        });
    });
}

fn refuse_duplicates<'a>(ids: impl Iterator<Item = (&'a Id, &'a Node)>, decoder: &mut Decoder) {
    let mut seen = HashSet::new();
    for (id, node) in ids {
        if !seen.insert(id) {
            decoder.refuse::<()>(node.position, format!("duplicate id {:?}", id.0));
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
    fn built_in_pipelines_are_valid() {
        for file in PIPELINES.files() {
            let id = file.path().file_stem().and_then(|stem| stem.to_str()).unwrap();
            assert_eq!(Flow::builtin(id).unwrap().id.0, id);
        }
    }

    #[test]
    fn every_fault_is_reported_with_its_position() {
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
            "broken.yaml:1:1: missing property `namespace` in a flow",
            "broken.yaml:4:11: unsupported value \"YEAR\"; supported values: STRING, INT,",
            "broken.yaml:11:1: unknown property `lables` in a flow; did you mean `labels`?",
            "broken.yaml:14:11: unsupported task type \"io.kestra.plugin.core.log.Logs\"",
            "broken.yaml:17:10: expected text, found a list",
            "broken.yaml:15:5: missing property `table` in a task of type taxi.postgresql.CreateTables",
        ] {
            assert!(error.contains(fault), "missing: {fault}\n{error}");
        }
        let corrected = text
            .replace("YEAR", "INT")
            .replace("lables", "labels")
            .replace("[x]", "x")
            .replace("    sql", "    table: t\n    sql");
        let corrected = corrected
            .replace("log.Logs", "log.Log\n    message: m")
            .replace("inputs:", "namespace: n\ninputs:");
        let error = Flow::parse("broken.yaml", &corrected).unwrap_err().to_string();
        for fault in [
            "broken.yaml:9:15: invalid default value \"13\": expected one of 01",
            "broken.yaml:10:5: duplicate id \"month\"",
        ] {
            assert!(error.contains(fault), "missing: {fault}\n{error}");
        }
    }
}
