//! Older names of types, which published flows still use, and today's names.

/// Older names of task types, each with today's name.
const TASKS: [(&str, &str); 42] = [
    ("io.kestra.core.tasks.debugs.Echo", "io.kestra.plugin.core.debug.Echo"),
    ("io.kestra.core.tasks.debugs.Return", "io.kestra.plugin.core.debug.Return"),
    ("io.kestra.core.tasks.executions.Assert", "io.kestra.plugin.core.execution.Assert"),
    ("io.kestra.core.tasks.executions.Fail", "io.kestra.plugin.core.execution.Fail"),
    ("io.kestra.core.tasks.executions.Labels", "io.kestra.plugin.core.execution.Labels"),
    ("io.kestra.core.tasks.flows.AllowFailure", "io.kestra.plugin.core.flow.AllowFailure"),
    ("io.kestra.core.tasks.flows.Dag", "io.kestra.plugin.core.flow.Dag"),
    ("io.kestra.core.tasks.flows.EachParallel", "io.kestra.plugin.core.flow.EachParallel"),
    ("io.kestra.core.tasks.flows.EachSequential", "io.kestra.plugin.core.flow.EachSequential"),
    ("io.kestra.core.tasks.flows.Flow", "io.kestra.plugin.core.flow.Subflow"),
    ("io.kestra.core.tasks.flows.ForEachItem", "io.kestra.plugin.core.flow.ForEachItem"),
    ("io.kestra.core.tasks.flows.If", "io.kestra.plugin.core.flow.If"),
    ("io.kestra.core.tasks.flows.Parallel", "io.kestra.plugin.core.flow.Parallel"),
    ("io.kestra.core.tasks.flows.Pause", "io.kestra.plugin.core.flow.Pause"),
    ("io.kestra.core.tasks.flows.Sequential", "io.kestra.plugin.core.flow.Sequential"),
    ("io.kestra.core.tasks.flows.Subflow", "io.kestra.plugin.core.flow.Subflow"),
    ("io.kestra.core.tasks.flows.Switch", "io.kestra.plugin.core.flow.Switch"),
    ("io.kestra.core.tasks.flows.Worker", "io.kestra.plugin.core.flow.WorkingDirectory"),
    ("io.kestra.core.tasks.flows.WorkingDirectory", "io.kestra.plugin.core.flow.WorkingDirectory"),
    ("io.kestra.core.tasks.log.Log", "io.kestra.plugin.core.log.Log"),
    ("io.kestra.core.tasks.outputs.OutputValues", "io.kestra.plugin.core.output.OutputValues"),
    ("io.kestra.core.tasks.scripts.Bash", "io.kestra.plugin.scripts.shell.Commands"),
    ("io.kestra.core.tasks.storages.Concat", "io.kestra.plugin.core.storage.Concat"),
    ("io.kestra.core.tasks.storages.Delete", "io.kestra.plugin.core.storage.Delete"),
    (
        "io.kestra.core.tasks.storages.PurgeExecution",
        "io.kestra.plugin.core.storage.PurgeCurrentExecutionFiles",
    ),
    ("io.kestra.core.tasks.storages.Reverse", "io.kestra.plugin.core.storage.Reverse"),
    ("io.kestra.core.tasks.storages.Size", "io.kestra.plugin.core.storage.Size"),
    ("io.kestra.core.tasks.storages.Split", "io.kestra.plugin.core.storage.Split"),
    ("io.kestra.core.tasks.storages.Write", "io.kestra.plugin.core.storage.Write"),
    ("io.kestra.plugin.core.flow.Flow", "io.kestra.plugin.core.flow.Subflow"),
    (
        "io.kestra.plugin.core.storage.PurgeExecution",
        "io.kestra.plugin.core.storage.PurgeCurrentExecutionFiles",
    ),
    ("io.kestra.plugin.fs.http.Download", "io.kestra.plugin.core.http.Download"),
    ("io.kestra.plugin.fs.http.Request", "io.kestra.plugin.core.http.Request"),
    ("io.kestra.plugin.kv.Delete", "io.kestra.plugin.core.kv.Delete"),
    ("io.kestra.plugin.kv.Get", "io.kestra.plugin.core.kv.Get"),
    ("io.kestra.plugin.kv.GetKeys", "io.kestra.plugin.core.kv.GetKeys"),
    ("io.kestra.plugin.kv.Set", "io.kestra.plugin.core.kv.Set"),
    ("io.kestra.plugin.serdes.csv.CsvReader", "io.kestra.plugin.serdes.csv.CsvToIon"),
    ("io.kestra.plugin.serdes.csv.CsvWriter", "io.kestra.plugin.serdes.csv.IonToCsv"),
    ("io.kestra.plugin.serdes.json.JsonReader", "io.kestra.plugin.serdes.json.JsonToIon"),
    ("io.kestra.plugin.serdes.json.JsonWriter", "io.kestra.plugin.serdes.json.IonToJson"),
    ("taxi.postgresql.LoadCsv", "taxi.postgresql.Load"),
];

/// The packages of conditions; older ones first. The names of older conditions also end in `Condition`.
const CONDITION_PACKAGES: [&str; 2] =
    ["io.kestra.core.models.conditions.types.", "io.kestra.plugin.core.condition."];

/// The packages of the triggers of Kestra itself.
const TRIGGER_PACKAGES: [&str; 2] =
    ["io.kestra.core.models.triggers.types.", "io.kestra.plugin.core.trigger."];

/// Today's name of the task type that `name` names with an older name.
pub(crate) fn task(name: &str) -> Option<&'static str> {
    TASKS.iter().find(|(older, _)| *older == name).map(|(_, today)| *today)
}

/// Today's name of a task type and its older names.
pub(crate) fn names_of(name: &str) -> Vec<&str> {
    let older = TASKS.iter().filter(|(_, today)| *today == name).map(|(older, _)| *older);
    std::iter::once(name).chain(older).collect()
}

/// The name of a condition within its package, such as `Weekend`. `None` for the types of other packages.
pub(crate) fn condition(name: &str) -> Option<&str> {
    let short = CONDITION_PACKAGES.iter().find_map(|package| name.strip_prefix(package))?;
    Some(short.strip_suffix("Condition").unwrap_or(short))
}

/// The name of a trigger within its package, such as `Schedule`. `None` for the types of other packages.
pub(crate) fn trigger(name: &str) -> Option<&str> {
    TRIGGER_PACKAGES.iter().find_map(|package| name.strip_prefix(package))
}

/// Today's name of the condition or the trigger that `name` names with an older name.
pub(crate) fn of_trigger(name: &str) -> Option<String> {
    let [[_, conditions], [_, triggers]] = [CONDITION_PACKAGES, TRIGGER_PACKAGES];
    let today = match (condition(name), trigger(name)) {
        (Some(short), _) => format!("{conditions}{short}"),
        (_, Some(short)) => format!("{triggers}{short}"),
        (None, None) => return None,
    };
    (today != name).then_some(today)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::model::task::TaskType;

    #[test]
    fn older_names_lead_to_task_types_and_are_none_themselves() {
        for (older, today) in TASKS {
            assert!(TaskType::NAMES.contains(&today), "{today}");
            assert!(!TaskType::NAMES.contains(&older), "{older}");
        }
    }

    #[test]
    fn older_conditions_have_todays_names() {
        assert_eq!(condition("io.kestra.core.models.conditions.types.WeekendCondition"), Some("Weekend"));
        assert_eq!(condition("io.kestra.plugin.core.condition.DayWeek"), Some("DayWeek"));
        assert_eq!(condition("io.kestra.plugin.gcp.Weekend"), None);
        let today = of_trigger("io.kestra.core.models.triggers.types.Schedule");
        assert_eq!(today.as_deref(), Some("io.kestra.plugin.core.trigger.Schedule"));
        assert_eq!(of_trigger("io.kestra.plugin.core.condition.Weekend"), None);
    }
}
