//! A task: the properties that all tasks share, and the registry of task types.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::error::{Error, Kind, Result};
use crate::flow::context::connection::Connection;
use crate::flow::context::task_run::{Outputs, TaskRun};
use crate::flow::expression::Template;
use crate::flow::model::aliases;
use crate::flow::model::retry::Retry;
use crate::flow::model::services;
use crate::flow::model::values::Rendered;
use crate::flow::tasks::builtin::LogLevel;
use crate::flow::tasks::script::ScriptOptions;
use crate::flow::tasks::{
    batch, builtin, calls, control, copy, dbt, flowable, git, http_client, http_request, kv, load, lookup,
    node, python, query, serdes, shell, stored_files, working_directory,
};
use crate::flow::yaml::decode::{
    Decode, Decoder, Defaults, Fields, Id, Properties, Property, properties, schema_of,
};
use crate::flow::yaml::document::{Node, Position, YamlValue};

properties! {
    /// The properties of every task.
    pub(crate) struct Common as "a task" {
        /// Id of the task. Expressions read its outputs by this id.
        "id" => id: Id,
        /// Type of the task.
        "type" => _task_type: String,
        /// Free-text description.
        "description" => _description: Option<String> = None,
        /// Whether the task is skipped.
        "disabled" => disabled: bool = false,
        /// Condition of the task. The task is skipped unless this expression is true.
        "runIf" => run_if: Option<Template> = None,
        /// Whether the flow continues with a warning if this task fails.
        "allowFailure" => allow_failure: bool = false,
        /// Retry policy of the task.
        "retry" => retry: Option<Retry> = None,
        /// Time limit for each attempt. The task is stopped when the limit is reached.
        "timeout" => timeout: Option<Rendered<Duration>> = None,
        /// Whether the run succeeds without a warning if this task ends with a warning.
        "allowWarning" => allow_warning: bool = false,
        /// Least severe level of the messages that the task's log keeps.
        "logLevel" => log_level: Option<LogLevel> = None,
        /// Whether to store the log in a file.
        "logToFile" => _log_to_file: bool = false => "the run history keeps the log",
        /// The worker group that runs the task.
        "workerGroup" => _worker_group: Option<Node> = None => "this machine runs all tasks",
        /// Version of the plugin.
        "version" => _version: Option<Node> = None => "taxi has one version of each task type",
        /// The data assets that the task reads and writes.
        "assets" => _assets: Option<Node> = None => "taxi has no catalog of assets",
        /// Whether to reuse the outputs of an earlier run.
        "taskCache" => _task_cache: Option<Node> = None => "the task runs each time",
    }
}

/// One task of a flow.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    /// The properties that every task has.
    pub(crate) common: Common,
    /// The type of the task, with the properties of that type.
    pub(crate) kind: TaskType,
    /// Where the task starts in the flow's file.
    pub(crate) position: Position,
    /// The task as written, with the defaults of its type.
    pub(crate) node: Node,
}

impl Task {
    /// The task's id, unique within the flow.
    pub(crate) fn id(&self) -> &str {
        &self.common.id.0
    }

    /// The lists of nested tasks, each with a label that says when it runs.
    pub(crate) fn branches(&self) -> Vec<(String, &[Self])> {
        self.kind.flowable().map(flowable::Flowable::branches).unwrap_or_default()
    }

    /// Calls `visit` with this task and all tasks below it.
    pub(crate) fn walk<'a>(&'a self, visit: &mut impl FnMut(&'a Self)) {
        visit(self);
        for (_, tasks) in self.branches() {
            tasks.iter().for_each(|task| task.walk(visit));
        }
    }
}

macro_rules! task_types {
    (
        actions { $( $action:ident ( $action_type:ty ) = $action_name:literal, )+ }
        flowables { $( $flowable:ident ( $flowable_type:ty ) = $flowable_name:literal, )+ }
        calls { $( $call:ident ( $call_type:ty ) = $call_name:literal, )+ }
    ) => {
        /// The type of a task and its properties. Templates are rendered when the task runs.
        #[derive(Clone, Debug)]
        pub(crate) enum TaskType {
            $( #[doc = concat!("`", $action_name, "`")] $action(Box<$action_type>), )+
            $( #[doc = concat!("`", $flowable_name, "`")] $flowable(Box<$flowable_type>), )+
            $( #[doc = concat!("`", $call_name, "`")] $call(Box<$call_type>), )+
        }

        impl TaskType {
            /// The names of all task types.
            pub(crate) const NAMES: &[&str] = &[$($action_name,)+ $($flowable_name,)+ $($call_name,)+];

            /// The name of this type.
            pub(crate) fn name(&self) -> &'static str {
                match self {
                    $( Self::$action(_) => $action_name, )+
                    $( Self::$flowable(_) => $flowable_name, )+
                    $( Self::$call(_) => $call_name, )+
                }
            }

            fn take(name: &str, fields: &mut Fields<'_>, decoder: &mut Decoder) -> Option<Self> {
                match name {
                    $( $action_name => boxed::<$action_type>(fields, decoder).map(Self::$action), )+
                    $( $flowable_name => boxed::<$flowable_type>(fields, decoder).map(Self::$flowable), )+
                    $( $call_name => boxed::<$call_type>(fields, decoder).map(Self::$call), )+
                    _ => None,
                }
            }

            /// The name, the description and the properties of each type.
            pub(crate) fn schemas() -> Vec<(&'static str, &'static str, Vec<Property>)> {
                vec![
                    $( ($action_name, <$action_type>::ABOUT, <$action_type>::properties()), )+
                    $( ($flowable_name, <$flowable_type>::ABOUT, <$flowable_type>::properties()), )+
                    $( ($call_name, <$call_type>::ABOUT, <$call_type>::properties()), )+
                ]
            }

            /// The task as a flowable task, which only runs other tasks. `None` for other task types.
            pub(crate) fn flowable(&self) -> Option<&dyn flowable::Flowable> {
                match self {
                    $( Self::$flowable(task) => Some(&**task), )+
                    _ => None,
                }
            }

            /// Runs a task that runs no other tasks and no other flows, and returns its outputs.
            pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
                match self {
                    // in a box each: the largest future does not make all of them large
                    $( Self::$action(task) => Box::pin(task.run(run)).await, )+
                    _ => Err(Error::new(Kind::Internal, "the executor runs the tasks of this type")),
                }
            }
        }
    };
}

/// Takes the properties of a type. A function of its own, so that deep nesting of tasks needs little of the stack.
#[inline(never)]
fn boxed<T: Properties>(fields: &mut Fields<'_>, decoder: &mut Decoder) -> Option<Box<T>> {
    T::take(fields, decoder).map(Box::new)
}

// `actions` do their own work, `flowables` run other tasks, `calls` run other flows
task_types! {
    actions {
        Log(builtin::LogTask) = "io.kestra.plugin.core.log.Log",
        Return(builtin::Return) = "io.kestra.plugin.core.debug.Return",
        Echo(control::Echo) = "io.kestra.plugin.core.debug.Echo",
        Labels(builtin::LabelsTask) = "io.kestra.plugin.core.execution.Labels",
        Fail(builtin::Fail) = "io.kestra.plugin.core.execution.Fail",
        Assert(control::Assert) = "io.kestra.plugin.core.execution.Assert",
        Exit(control::Exit) = "io.kestra.plugin.core.execution.Exit",
        Sleep(builtin::Sleep) = "io.kestra.plugin.core.flow.Sleep",
        Pause(control::Pause) = "io.kestra.plugin.core.flow.Pause",
        OutputValues(control::OutputValues) = "io.kestra.plugin.core.output.OutputValues",
        SetKey(kv::Set) = "io.kestra.plugin.core.kv.Set",
        GetKey(kv::Get) = "io.kestra.plugin.core.kv.Get",
        GetKeys(kv::GetKeys) = "io.kestra.plugin.core.kv.GetKeys",
        DeleteKey(kv::Delete) = "io.kestra.plugin.core.kv.Delete",
        PurgeKeys(kv::PurgeKeys) = "io.kestra.plugin.core.kv.PurgeKV",
        PurgeFiles(builtin::PurgeFiles) = "io.kestra.plugin.core.storage.PurgeCurrentExecutionFiles",
        WriteFile(stored_files::Write) = "io.kestra.plugin.core.storage.Write",
        ConcatFiles(stored_files::Concat) = "io.kestra.plugin.core.storage.Concat",
        SplitFile(stored_files::Split) = "io.kestra.plugin.core.storage.Split",
        ReverseFile(stored_files::Reverse) = "io.kestra.plugin.core.storage.Reverse",
        FileSize(stored_files::Size) = "io.kestra.plugin.core.storage.Size",
        DeleteFile(stored_files::Delete) = "io.kestra.plugin.core.storage.Delete",
        Request(http_request::Request) = "io.kestra.plugin.core.http.Request",
        Download(http_client::Download) = "io.kestra.plugin.core.http.Download",
        CsvToIon(serdes::CsvToIon) = "io.kestra.plugin.serdes.csv.CsvToIon",
        IonToCsv(serdes::IonToCsv) = "io.kestra.plugin.serdes.csv.IonToCsv",
        JsonToIon(serdes::JsonToIon) = "io.kestra.plugin.serdes.json.JsonToIon",
        IonToJson(serdes::IonToJson) = "io.kestra.plugin.serdes.json.IonToJson",
        Shell(shell::Commands) = "io.kestra.plugin.scripts.shell.Commands",
        ShellScript(shell::Script) = "io.kestra.plugin.scripts.shell.Script",
        Python(python::Commands) = "io.kestra.plugin.scripts.python.Commands",
        PythonScript(python::Script) = "io.kestra.plugin.scripts.python.Script",
        Node(node::Commands) = "io.kestra.plugin.scripts.node.Commands",
        NodeScript(node::Script) = "io.kestra.plugin.scripts.node.Script",
        GitClone(git::Clone) = "io.kestra.plugin.git.Clone",
        SyncFiles(git::SyncNamespaceFiles) = "io.kestra.plugin.git.SyncNamespaceFiles",
        DbtBuild(dbt::command::Build) = "io.kestra.plugin.dbt.cli.Build",
        DbtRun(dbt::command::Run) = "io.kestra.plugin.dbt.cli.Run",
        DbtTest(dbt::command::Test) = "io.kestra.plugin.dbt.cli.Test",
        Dbt(dbt::DbtCli) = "io.kestra.plugin.dbt.cli.DbtCLI",
        Query(query::Query) = "io.kestra.plugin.jdbc.postgresql.Query",
        Queries(query::Queries) = "io.kestra.plugin.jdbc.postgresql.Queries",
        Batch(batch::Batch) = "io.kestra.plugin.jdbc.postgresql.Batch",
        CopyIn(copy::CopyIn) = "io.kestra.plugin.jdbc.postgresql.CopyIn",
        CopyOut(copy::CopyOut) = "io.kestra.plugin.jdbc.postgresql.CopyOut",
        CreateTables(load::CreateTables) = "taxi.postgresql.CreateTables",
        Load(load::Load) = "taxi.postgresql.Load",
        LoadLookup(lookup::LoadLookup) = "taxi.postgresql.LoadLookup",
    }
    flowables {
        If(flowable::If) = "io.kestra.plugin.core.flow.If",
        Switch(flowable::Switch) = "io.kestra.plugin.core.flow.Switch",
        Sequential(flowable::Sequential) = "io.kestra.plugin.core.flow.Sequential",
        Parallel(flowable::Parallel) = "io.kestra.plugin.core.flow.Parallel",
        AllowFailure(flowable::AllowFailure) = "io.kestra.plugin.core.flow.AllowFailure",
        Dag(flowable::Dag) = "io.kestra.plugin.core.flow.Dag",
        ForEach(flowable::ForEach) = "io.kestra.plugin.core.flow.ForEach",
        EachSequential(flowable::EachSequential) = "io.kestra.plugin.core.flow.EachSequential",
        EachParallel(flowable::EachParallel) = "io.kestra.plugin.core.flow.EachParallel",
        WorkingDirectory(working_directory::WorkingDirectory) = "io.kestra.plugin.core.flow.WorkingDirectory",
    }
    calls {
        Subflow(calls::Subflow) = "io.kestra.plugin.core.flow.Subflow",
        ForEachItem(calls::ForEachItem) = "io.kestra.plugin.core.flow.ForEachItem",
    }
}

impl TaskType {
    /// Whether the task runs its tasks once for each of several values.
    pub(crate) const fn is_loop(&self) -> bool {
        matches!(self, Self::ForEach(_) | Self::EachSequential(_) | Self::EachParallel(_))
    }

    /// The connection that the task declares, if it is a PostgreSQL task.
    pub(crate) fn connection(&self) -> Option<&Connection> {
        match self {
            Self::Query(task) => Some(&task.connection),
            Self::Queries(task) => Some(&task.connection),
            Self::Batch(task) => Some(&task.connection),
            Self::CopyIn(task) => Some(&task.connection),
            Self::CopyOut(task) => Some(&task.connection),
            _ => None,
        }
    }

    /// The properties of a task that runs commands.
    pub(crate) fn script(&self) -> Option<&ScriptOptions> {
        match self {
            Self::Shell(task) => Some(&task.options),
            Self::ShellScript(task) => Some(&task.options),
            Self::Python(task) => Some(&task.options),
            Self::PythonScript(task) => Some(&task.options),
            Self::Node(task) => Some(&task.options),
            Self::NodeScript(task) => Some(&task.options),
            Self::Dbt(task) => Some(&task.options),
            Self::DbtBuild(task) => Some(&task.command.options),
            Self::DbtRun(task) => Some(&task.command.options),
            Self::DbtTest(task) => Some(&task.command.options),
            _ => None,
        }
    }

    /// The properties of the types at or below `prefix`. Empty if no type matches.
    pub(crate) fn properties_below(prefix: &str) -> Vec<&'static str> {
        let is_below = |name: &str| aliases::names_of(name).iter().any(|name| begins_with(name, prefix));
        let types = Self::schemas().into_iter().filter(|(name, ..)| is_below(name));
        let own: Vec<&str> = types.flat_map(|(_, _, own)| own).map(|property| property.name).collect();
        match Self::NAMES.iter().any(|name| is_below(name)) {
            true => own
                .into_iter()
                .chain(Common::properties().into_iter().map(|property| property.name))
                .collect(),
            false => own,
        }
    }
}

/// Whether `name` equals `prefix` or is below it.
pub(crate) fn begins_with(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

impl Decode for Task {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let merged = with_defaults(node, decoder);
        let named = entry(&merged, "type").and_then(|node| match &node.value {
            YamlValue::Text(name) => Some((node.position, name.as_str())),
            _ => None,
        });
        // one cause, one fault: the properties of an unknown type are unknown too
        let today = named.map(|(position, written)| (position, aliases::task(written).unwrap_or(written)));
        if let Some((position, name)) = today.filter(|(_, name)| !TaskType::NAMES.contains(name)) {
            return decoder.refuse(position, services::unsupported(name));
        }
        let mut fields = decoder.fields(&merged, Common::NAME)?;
        let common = Common::take(&mut fields, decoder);
        let ((position, written), (_, name)) = (named?, today?);
        if name != written {
            decoder.note(position, format!("{written} is an older name of {name}"));
        }
        fields.rename(&format!("a task of type {name}"));
        let may_not_run = may_not_run(&merged, name);
        let kind = decoder.conditionally(may_not_run, |decoder| TaskType::take(name, &mut fields, decoder));
        decoder.end(fields);
        Some(Self { common: common?, kind: kind?, position: node.position, node: merged })
    }

    fn schema() -> Json {
        json!({ "$ref": "#/$defs/task" })
    }
}

/// Whether a run may leave out the task, or the tasks below it, or goes on after it has failed.
fn may_not_run(node: &Node, name: &str) -> bool {
    let is_true = |key| entry(node, key).is_some_and(|node| matches!(node.value, YamlValue::Bool(true)));
    let is_sequence = ["Sequential", "Parallel", "WorkingDirectory"].iter().any(|end| name.ends_with(end));
    let has_children = entry(node, "tasks").is_some();
    is_true("disabled")
        || is_true("allowFailure")
        || entry(node, "runIf").is_some()
        || has_children && !is_sequence
}

/// The JSON Schema of a task: one alternative for each task type.
pub(crate) fn schema() -> Json {
    let kinds = TaskType::schemas().into_iter().map(|(name, about, own)| {
        let mut properties = Common::properties();
        for property in properties.iter_mut().filter(|property| property.name == "type") {
            property.schema = json!({ "enum": aliases::names_of(name) });
        }
        properties.extend(own);
        schema_of(about, properties)
    });
    json!({ "anyOf": kinds.collect::<Vec<_>>() })
}

/// The task with the defaults of its type merged in.
fn with_defaults(node: &Node, decoder: &Decoder) -> Node {
    let mut merged = node.clone();
    let YamlValue::Map(entries) = &mut merged.value else { return merged };
    let Some(YamlValue::Text(name)) = entry(node, "type").map(|node| &node.value) else { return merged };
    let names = aliases::names_of(aliases::task(name).unwrap_or(name));
    let applies = |defaults: &&Defaults| names.iter().any(|name| begins_with(name, &defaults.prefix));
    let applicable = decoder.defaults.iter().filter(applies);
    // if several defaults are forced, the first one wins
    let (forced, others): (Vec<_>, Vec<_>) = applicable.partition(|defaults| defaults.forced);
    for defaults in others.into_iter().chain(forced.into_iter().rev()) {
        merge(entries, &defaults.entries, defaults.forced);
    }
    merged
}

/// Adds missing entries, recursively in nested mappings. With `forced`, also replaces existing values.
fn merge(entries: &mut Vec<(Node, Node)>, defaults: &[(Node, Node)], forced: bool) {
    for (key, value) in defaults {
        let existing = entries.iter().position(|(existing, _)| existing.value.text() == key.value.text());
        match existing.map(|index| &mut entries[index].1) {
            None => entries.push((key.clone(), value.clone())),
            Some(own) => match (&mut own.value, &value.value) {
                (YamlValue::Map(own), YamlValue::Map(nested)) => merge(own, nested, forced),
                _ if forced => *own = value.clone(),
                _ => {}
            },
        }
    }
}

/// The value of a key of a mapping.
pub(crate) fn entry<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
    let YamlValue::Map(entries) = &node.value else { return None };
    entries.iter().find(|(key, _)| key.value.text() == Some(name)).map(|(_, value)| value)
}
