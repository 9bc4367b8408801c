//! Checks of a whole flow: what its parts say of each other.

use std::collections::HashSet;

use super::ending::SlaType;
use super::flow::{Concurrency, Declaration};
use super::names;
use super::retry::Retry;
use super::task::{Task, TaskType, entry};
use super::trigger::Trigger;
use crate::flow::expression::Template;
use crate::flow::yaml::decode::{Decode as _, Decoder, Id};
use crate::flow::yaml::document::{Node, YamlValue};

/// The properties of the flow as written.
struct Written<'a>(&'a Node);

impl<'a> Written<'a> {
    fn find(&self, name: &str) -> Option<&'a Node> {
        let YamlValue::Map(entries) = &self.0.value else { return None };
        entries.iter().find(|(key, _)| key.value.text() == Some(name)).map(|(_, value)| value)
    }

    /// The property, or the whole flow if it has no such property.
    fn property(&self, name: &str) -> &'a Node {
        self.find(name).unwrap_or(self.0)
    }

    /// The items of a property that is a list.
    fn items(&self, name: &str) -> &'a [Node] {
        match self.find(name).map(|node| &node.value) {
            Some(YamlValue::List(items)) => items,
            _ => &[],
        }
    }
}

/// Checks what can be checked only on the whole flow.
pub(crate) fn check(flow: &Declaration, root: &Node, decoder: &mut Decoder) {
    let written = Written(root);
    if flow.tasks.is_empty() {
        decoder.refuse::<()>(written.property("tasks").position, "a flow needs at least one task");
    }
    for (input, node) in flow.inputs.iter().zip(written.items("inputs")) {
        input.check(node, decoder);
    }
    check_defaults(flow, &written, decoder);
    check_limits(flow, &written, decoder);
    check_trigger_inputs(flow, decoder);
    if let Some(variables) = &flow.variables {
        check_templates(variables, decoder);
        if !matches!(variables.value, YamlValue::Map(_) | YamlValue::Null) {
            let text = format!("expected a mapping for `variables`, found {}", variables.value.kind());
            decoder.refuse::<()>(variables.position, text);
        }
    }
    refuse_duplicates(flow.inputs.iter().map(|input| &input.id).zip(written.items("inputs")), decoder);
    refuse_duplicates(flow.outputs.iter().map(|output| &output.id).zip(written.items("outputs")), decoder);
    refuse_duplicates(flow.triggers.iter().map(Trigger::id).zip(written.items("triggers")), decoder);
    let mut seen = HashSet::new();
    flow.lists().flatten().for_each(|task| task.walk(&mut |task| check_task(task, &mut seen, decoder)));
    names::check(flow, decoder);
}

fn check_defaults(flow: &Declaration, written: &Written<'_>, decoder: &mut Decoder) {
    let nodes = [written.items("pluginDefaults"), written.items("taskDefaults")].concat();
    for (default, node) in flow.plugin_defaults.iter().zip(&nodes) {
        let known = TaskType::properties_below(&default.task_type);
        if known.is_empty() {
            let name = &default.task_type;
            let text = format!("the defaults of {name} have no effect: no supported type has this name");
            decoder.note(node.position, text);
            continue;
        }
        for (name, value) in &default.values.0 {
            if !known.contains(&name.as_str()) {
                let text = format!("unknown property `{name}` for {}", default.task_type);
                decoder.refuse::<()>(value.position, text);
            }
        }
    }
}

/// Checks the limits that the flow sets for its runs.
fn check_limits(flow: &Declaration, written: &Written<'_>, decoder: &mut Decoder) {
    if let Some(Concurrency { limit: 0, .. }) = flow.concurrency {
        let position = written.property("concurrency").position;
        decoder.refuse::<()>(position, "invalid concurrency limit 0: expected at least 1");
    }
    if let Some(fault) = flow.retry.as_ref().and_then(Retry::fault) {
        decoder.refuse::<()>(written.property("retry").position, fault);
    }
    for (sla, node) in flow.sla.iter().zip(written.items("sla")) {
        match (sla.sla_type, sla.duration) {
            (SlaType::MaxDuration, None) => {
                decoder.refuse::<()>(node.position, "missing property `duration` in a MAX_DURATION");
            }
            (SlaType::Assertion, _) => decoder.note(node.position, "an EXECUTION_ASSERTION has no effect"),
            (SlaType::MaxDuration, Some(_)) => {}
        }
    }
}

fn check_trigger_inputs(flow: &Declaration, decoder: &mut Decoder) {
    for trigger in flow.triggers.iter().filter_map(Trigger::schedule) {
        for (name, given) in &trigger.inputs.0 {
            let Some(input) = flow.inputs.iter().find(|input| input.id.0 == *name) else {
                let text = format!("the value of `{name}` has no effect: the flow has no input with this id");
                decoder.note(given.position, text);
                continue;
            };
            // an expression is evaluated for each run
            if given.template.is_none()
                && let Some(expected) = input.refuse(&given.text)
            {
                let text = format!("invalid value {:?} for the input {name:?}: {expected}", given.text);
                decoder.refuse::<()>(given.position, text);
            }
        }
    }
}

fn check_task<'a>(task: &'a Task, seen: &mut HashSet<&'a str>, decoder: &mut Decoder) {
    if !seen.insert(task.id()) {
        decoder.refuse::<()>(task.position, format!("duplicate id {:?}", task.id()));
    }
    if let Some(fault) = task.common.retry.as_ref().and_then(Retry::fault) {
        let position = entry(&task.node, "retry").map_or(task.position, |retry| retry.position);
        decoder.refuse::<()>(position, fault);
    }
    if let TaskType::Dag(dag) = &task.kind
        && let Some(fault) = dag.fault()
    {
        decoder.refuse::<()>(task.position, fault);
    }
    if let Some(connection) = task.kind.connection()
        && let (None, Some(credential)) =
            (&connection.url, connection.username.as_ref().or(connection.password.as_ref()))
    {
        let text = "`username` and `password` require the property `url`";
        decoder.refuse::<()>(credential.position, text);
    }
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
