//! Names in expressions that do not exist: inputs, variables, outputs of tasks, and the variables themselves.
//!
//! A name is a fault only where a run certainly fails at it. Elsewhere, a run may never reach it: then it is a note.

use super::flow::Declaration;
use crate::flow::expression::names::VARIABLES;
use crate::flow::yaml::decode::{Decoder, Used};
use crate::flow::yaml::document::{Node, YamlValue};
use crate::flow::yaml::hints;

/// Records the names that do not exist.
pub(crate) fn check(flow: &Declaration, decoder: &mut Decoder) {
    let inputs: Vec<&str> = flow.inputs.iter().map(|input| input.id.0.as_str()).collect();
    let variables: Vec<&str> = flow.variables.iter().flat_map(keys).collect();
    let mut tasks = Vec::new();
    flow.lists().flatten().for_each(|task| task.walk(&mut |task| tasks.push(task.id())));
    for used in std::mem::take(&mut decoder.used) {
        let Used { root, key, .. } = &used;
        let known: (&str, &[&str]) = match (root.as_str(), key) {
            ("inputs", Some(_)) => ("input with the id", &inputs),
            ("vars", Some(_)) => ("variable", &variables),
            ("outputs", Some(_)) => ("task with the id", &tasks),
            (root, _) if !VARIABLES.contains(&root) => ("name", &VARIABLES),
            _ => continue,
        };
        let name = key.as_ref().filter(|_| VARIABLES.contains(&root.as_str())).unwrap_or(root);
        if known.1.contains(&name.as_str()) {
            continue;
        }
        let nearest = hints::by_letters(name, known.1).map(|nearest| format!("; did you mean `{nearest}`?"));
        let text = format!("no {} `{name}`{}", known.0, nearest.unwrap_or_default());
        match used.is_certain {
            true => _ = decoder.refuse::<()>(used.position, text),
            false => decoder.note(used.position, text),
        }
    }
}

fn keys(node: &Node) -> Vec<&str> {
    let YamlValue::Map(entries) = &node.value else { return Vec::new() };
    entries.iter().filter_map(|(key, _)| key.value.text()).collect()
}
