//! A flow: a document decoded into types. All of its faults are reported at once.

use std::path::Path;

use include_dir::{Dir, include_dir};

use crate::error::{Error, Kind, Result};
use crate::flow::model::checks;
use crate::flow::model::ending::{Check, FlowOutput, Listener, Sla};
use crate::flow::model::inputs::Input;
use crate::flow::model::labels::Labels;
use crate::flow::model::retry::Retry;
use crate::flow::model::task::{Task, TaskType};
use crate::flow::model::trigger::{ScheduleTrigger, Trigger};
use crate::flow::sources::Declared;
use crate::flow::yaml::decode::{Decode as _, Decoder, Defaults, Entries, Id, choices, properties};
use crate::flow::yaml::document::{Diagnostic, Document, Faults, Node, YamlValue, in_order};

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
        /// Tasks that run after the end of every run. They do not change its status.
        "afterExecution" => after_execution: Vec<Task> = Vec::new(),
        /// The older form of `afterExecution`.
        "listeners" => listeners: Vec<Listener> = Vec::new(),
        /// Values that a run returns.
        "outputs" => outputs: Vec<FlowOutput> = Vec::new(),
        /// Conditions that are checked before a run begins.
        "checks" => checks: Vec<Check> = Vec::new(),
        /// Limits on the duration of a run.
        "sla" => sla: Vec<Sla> = Vec::new(),
        /// Default property values for the tasks of a type, or of all types below a prefix.
        "pluginDefaults" | "taskDefaults" => plugin_defaults: Vec<PluginDefault> = Vec::new(),
        /// Revision of the flow.
        "revision" => _revision: Option<Node> = None => "the file is the only revision",
        /// Tenant of the flow.
        "tenantId" => _tenant: Option<String> = None => "taxi has no tenants",
        /// The worker group that runs the flow.
        "workerGroup" => _worker_group: Option<Node> = None => "this machine runs all tasks",
        /// Whether the flow is deleted.
        "deleted" => _deleted: Option<Node> = None => "a flow is deleted with its file",
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

impl Declaration {
    /// The lists of tasks of the flow.
    pub(crate) fn lists(&self) -> impl Iterator<Item = &Vec<Task>> {
        let listeners = self.listeners.iter().map(|listener| &listener.tasks);
        [&self.tasks, &self.errors, &self.finally, &self.after_execution].into_iter().chain(listeners)
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
    notes: Vec<Diagnostic>,
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
        let defaults = defaults(&document.root);
        let mut decoder = Decoder::new(text, defaults);
        let declaration = Declaration::decode(&document.root, &mut decoder);
        if let Some(declaration) = &declaration {
            checks::check(declaration, &document.root, &mut decoder);
        }
        match declaration {
            Some(declaration) if decoder.diagnostics.is_empty() => {
                let notes = in_order(decoder.notes);
                Ok(Self { declaration, document, notes })
            }
            _ => Err(document.faults(decoder.diagnostics).with_notes(decoder.notes)),
        }
    }

    /// The full name: `namespace.id`.
    pub(crate) fn name(&self) -> String {
        format!("{}.{}", self.namespace, self.id.0)
    }

    /// The taxi types that the flow declares.
    pub(crate) fn taxi_types(&self) -> &[String] {
        let declared = self.inputs.iter().find(|input| input.id.0 == "taxi");
        declared.and_then(|input| input.values.as_deref()).unwrap_or_default()
    }

    /// The taxi types that are `given`, in the order in which the flow declares them; all of them if `all` is given.
    pub(crate) fn selected_types(&self, given: &[String]) -> Vec<&str> {
        let is_given = |name: &str| given.iter().any(|given| given == name || given == "all");
        self.taxi_types().iter().map(String::as_str).filter(|name| is_given(name)).collect()
    }

    /// The sources that the flow declares, and the layouts of their files.
    pub(crate) fn sources(&self) -> Declared<'_> {
        let declared = self.tasks.iter().find_map(|task| match &task.kind {
            TaskType::Load(load) => Some(load.declared()),
            TaskType::LoadLookup(load) => Some(load.declared()),
            _ => None,
        });
        declared.unwrap_or(Declared { names: &[], layouts: &[] })
    }

    /// Calls `visit` with every task.
    pub(crate) fn walk<'a>(&'a self, mut visit: impl FnMut(&'a Task)) {
        self.declaration.lists().flatten().for_each(|task| task.walk(&mut visit));
    }

    /// The schedule with this id.
    pub(crate) fn trigger(&self, id: &str) -> Result<&ScheduleTrigger> {
        let usage = |text: String| Error::new(Kind::Usage, text);
        let trigger = self.triggers.iter().find(|trigger| trigger.id().0 == id).ok_or_else(|| {
            let known: Vec<&str> = self.triggers.iter().map(|trigger| trigger.id().0.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let text = format!("no trigger with the id {id:?} in the flow {}", self.name());
            usage(format!("{text}; known triggers: {known}"))
        })?;
        trigger.schedule().ok_or_else(|| {
            usage(format!("the trigger {id} waits for an event and has no dates"))
                .hint("use 'taxi run' without --trigger")
        })
    }

    /// What the flow's file says without effect, in the order of the file.
    pub(crate) fn notes(&self) -> &[Diagnostic] {
        &self.notes
    }

    /// The notes as lines, each with its position.
    pub(crate) fn note_lines(&self) -> impl Iterator<Item = String> {
        self.notes.iter().map(|note| self.document.note_line(note))
    }

    /// The file that the flow was read from.
    pub(crate) fn document(&self) -> &Document {
        &self.document
    }

    /// Whether an expression may read keys and values. Only then are they read from the database.
    pub(crate) fn mentions_keys(&self) -> bool {
        self.document.contains("kv(")
    }

    /// Creates an error for faults that appear only when the flow runs.
    pub(crate) fn faults(&self, diagnostics: Vec<Diagnostic>) -> Error {
        self.document.faults(diagnostics).into()
    }
}

/// The `pluginDefaults` of the flow. They are read first because decoding a task needs them.
fn defaults(root: &Node) -> Vec<Defaults> {
    let YamlValue::Map(entries) = &root.value else { return Vec::new() };
    let find = |name| entries.iter().find(|(key, _)| key.value.text() == Some(name));
    let declared = find("pluginDefaults").or_else(|| find("taskDefaults"));
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

    #[test]
    fn what_has_no_effect_or_may_fail_is_noted_at_its_place() {
        let text = "\
id: noted
namespace: b
revision: 3
taskDefaults:
  - type: io.kestra.plugin.gcp
    values: {projectId: x}
  - type: io.kestra.plugin.core.log.Log
    values: {level: WARN}
variables:
  later: '{{ inputs.none }}'
tasks:
  - id: one
    type: io.kestra.plugin.core.log.Log
    message: \"{{ vars.none ?? 1 }} {{ inputs.none | default('') }} {{ outputs.none is defined }}\"
    workerGroup: {key: a}
  - id: two
    type: io.kestra.plugin.core.log.Log
    message: '{{ inputs.never }}'
    runIf: '{{ false }}'
  - id: three
    type: io.kestra.plugin.core.flow.If
    condition: '{{ true }}'
    then:
      - {id: four, type: io.kestra.plugin.core.log.Log, message: '{{ outputs.onee }}'}
  - id: five
    type: io.kestra.plugin.core.log.Log
    message: \"{% for m in ['a'] %}{{ m }}{% endfor %}{{ true ? 1 : vars.other }}{{ render(vars.later) }}\"
sla: [{id: s, type: EXECUTION_ASSERTION, assert: '{{ true }}', behavior: FAIL}]
triggers: [{id: t, type: io.kestra.plugin.core.trigger.Schedule, cron: '@daily', inputs: {none: x}}]
";
        let flow = Flow::parse("a.yaml", text).unwrap();
        let notes: Vec<String> = flow.note_lines().collect();
        assert_eq!(
            notes,
            [
                "a.yaml:3:1: note: `revision` has no effect: the file is the only revision",
                "a.yaml:5:5: note: the defaults of io.kestra.plugin.gcp have no effect: no supported type has this name",
                "a.yaml:10:14: note: no input with the id `none`",
                "a.yaml:15:5: note: `workerGroup` has no effect: this machine runs all tasks",
                "a.yaml:18:18: note: no input with the id `never`",
                "a.yaml:24:70: note: no task with the id `onee`; did you mean `one`?",
                "a.yaml:27:68: note: no variable `other`",
                "a.yaml:28:7: note: an EXECUTION_ASSERTION has no effect",
                "a.yaml:28:42: note: `assert` has no effect: only a MAX_DURATION is checked",
                "a.yaml:29:97: note: the value of `none` has no effect: the flow has no input with this id",
            ]
        );
    }
}
