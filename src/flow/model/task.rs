//! A task: the properties that all tasks share, and the registry of task types.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::flow::context::connection::Connection;
use crate::flow::expression::Template;
use crate::flow::model::retry::Retry;
use crate::flow::tasks::{builtin, copy, dbt, flowable, http_client, load, query, shell};
use crate::flow::yaml::decode::{Decode, Decoder, Fields, Id, Properties, Property, properties, schema_of};
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
        "timeout" => timeout: Option<Duration> = None,
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
    ($( $variant:ident ( $properties:ty ) = $name:literal, )+) => {
        /// The type of a task and its properties. Templates are rendered when the task runs.
        #[derive(Clone, Debug)]
        pub(crate) enum TaskType {
            $( #[doc = concat!("`", $name, "`")] $variant(Box<$properties>), )+
        }

        impl TaskType {
            /// The names of all task types, as written in a flow.
            pub(crate) const NAMES: &[&str] = &[$($name),+];

            /// The name of this type, as written in a flow.
            pub(crate) fn name(&self) -> &'static str {
                match self { $( Self::$variant(_) => $name, )+ }
            }

            fn take(name: &str, fields: &mut Fields<'_>, decoder: &mut Decoder) -> Option<Self> {
                match name {
                    $( $name => <$properties>::take(fields, decoder).map(|task| Self::$variant(Box::new(task))), )+
                    _ => None,
                }
            }

            fn schemas() -> Vec<(&'static str, &'static str, Vec<Property>)> {
                vec![ $( ($name, <$properties>::ABOUT, <$properties>::properties()), )+ ]
            }
        }
    };
}

task_types! {
    Log(builtin::LogTask) = "io.kestra.plugin.core.log.Log",
    Return(builtin::Return) = "io.kestra.plugin.core.debug.Return",
    Labels(builtin::LabelsTask) = "io.kestra.plugin.core.execution.Labels",
    Fail(builtin::Fail) = "io.kestra.plugin.core.execution.Fail",
    Sleep(builtin::Sleep) = "io.kestra.plugin.core.flow.Sleep",
    PurgeFiles(builtin::PurgeFiles) = "io.kestra.plugin.core.storage.PurgeCurrentExecutionFiles",
    If(flowable::If) = "io.kestra.plugin.core.flow.If",
    Switch(flowable::Switch) = "io.kestra.plugin.core.flow.Switch",
    Sequential(flowable::Sequential) = "io.kestra.plugin.core.flow.Sequential",
    Parallel(flowable::Parallel) = "io.kestra.plugin.core.flow.Parallel",
    ForEach(flowable::ForEach) = "io.kestra.plugin.core.flow.ForEach",
    Subflow(flowable::Subflow) = "io.kestra.plugin.core.flow.Subflow",
    Download(http_client::Download) = "io.kestra.plugin.core.http.Download",
    Shell(shell::Commands) = "io.kestra.plugin.scripts.shell.Commands",
    Dbt(dbt::DbtCli) = "io.kestra.plugin.dbt.cli.DbtCLI",
    Query(query::Query) = "io.kestra.plugin.jdbc.postgresql.Query",
    Queries(query::Queries) = "io.kestra.plugin.jdbc.postgresql.Queries",
    CopyIn(copy::CopyIn) = "io.kestra.plugin.jdbc.postgresql.CopyIn",
    CopyOut(copy::CopyOut) = "io.kestra.plugin.jdbc.postgresql.CopyOut",
    CreateTables(load::CreateTables) = "taxi.postgresql.CreateTables",
    LoadCsv(load::LoadCsv) = "taxi.postgresql.LoadCsv",
}

impl TaskType {
    /// The task as a flowable task, which only runs other tasks. `None` for other task types.
    pub(crate) fn flowable(&self) -> Option<&dyn flowable::Flowable> {
        match self {
            Self::If(task) => Some(&**task),
            Self::Switch(task) => Some(&**task),
            Self::Sequential(task) => Some(&**task),
            Self::Parallel(task) => Some(&**task),
            Self::ForEach(task) => Some(&**task),
            _ => None,
        }
    }

    /// The connection that the task declares, if it is a PostgreSQL task.
    pub(crate) fn connection(&self) -> Option<&Connection> {
        match self {
            Self::Query(task) => Some(&task.connection),
            Self::Queries(task) => Some(&task.connection),
            Self::CopyIn(task) => Some(&task.connection),
            Self::CopyOut(task) => Some(&task.connection),
            _ => None,
        }
    }

    /// The properties of the types at or below `prefix`. Empty if no type matches.
    pub(crate) fn properties_below(prefix: &str) -> Vec<&'static str> {
        let types = Self::schemas().into_iter().filter(|(name, ..)| begins_with(name, prefix));
        let own: Vec<&str> = types.flat_map(|(_, _, own)| own).map(|property| property.name).collect();
        match Self::NAMES.iter().any(|name| begins_with(name, prefix)) {
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
        let mut fields = decoder.fields(&merged, Common::NAME)?;
        let common = Common::take(&mut fields, decoder);
        let named = entry(&merged, "type").and_then(|node| match &node.value {
            YamlValue::Text(name) => Some((node.position, name)),
            _ => None,
        });
        let (position, name) = named?;
        if !TaskType::NAMES.contains(&name.as_str()) {
            let text = format!("unsupported task type {name:?}; 'taxi schema' lists the supported types");
            return decoder.refuse(position, text);
        }
        fields.rename(&format!("a task of type {name}"));
        let kind = TaskType::take(name, &mut fields, decoder);
        decoder.end(fields);
        Some(Self { common: common?, kind: kind?, position: node.position })
    }

    fn schema() -> Json {
        json!({ "$ref": "#/$defs/task" })
    }
}

/// The JSON Schema of a task: one alternative for each task type.
pub(crate) fn schema() -> Json {
    let kinds = TaskType::schemas().into_iter().map(|(name, about, own)| {
        let mut properties = Common::properties();
        for property in properties.iter_mut().filter(|property| property.name == "type") {
            property.schema = json!({ "const": name });
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
    let applicable = decoder.defaults.iter().filter(|defaults| begins_with(name, &defaults.prefix));
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

fn entry<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
    let YamlValue::Map(entries) = &node.value else { return None };
    entries.iter().find(|(key, _)| key.value.text() == Some(name)).map(|(_, value)| value)
}
