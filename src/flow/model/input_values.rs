//! The input values of one run: complete, valid, and in the order of their declarations.

use std::path::{Path, PathBuf};

use minijinja::Value as Data;
use serde_json::Value as Json;

use super::inputs::{Input, InputType};
use crate::error::{Error, Kind, Result};
use crate::flow::expression::{Scope, Template};
use crate::secrets::Secrets;

/// What stands for a secret where inputs are stored or printed.
const MASK: &str = "******";

/// The values of one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inputs(Vec<Resolved>);

/// An input with its value.
#[derive(Clone, Debug)]
struct Resolved {
    id: String,
    input_type: InputType,
    /// The value as text. `None` if an optional input has no value.
    text: Option<String>,
    data: Data,
    /// Whether the run has the input at all: its `dependsOn` holds.
    is_enabled: bool,
}

impl Inputs {
    /// Takes the `given` values, fills in defaults and refuses values that the declarations do not allow.
    /// Expressions in the declarations see `scope`, and the inputs that they depend on.
    pub(crate) fn resolve(declared: &[Input], given: &[(String, String)], scope: &Scope) -> Result<Self> {
        let unknown = given.iter().find(|(name, _)| !declared.iter().any(|input| input.id.0 == *name));
        if let Some((name, _)) = unknown {
            let names: Vec<&str> = declared.iter().map(|input| input.id.0.as_str()).collect();
            let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Err(usage(format!("no input with the id {name:?}; known inputs: {known}")));
        }
        let mut inputs = Self::default();
        for input in in_order(declared)? {
            let value = given.iter().rfind(|(name, _)| *name == input.id.0).map(|(_, value)| value.as_str());
            let scope = scope.clone().with("inputs", inputs.data());
            let resolved = inputs.resolve_one(input, value, &scope)?;
            inputs.0.push(resolved);
        }
        let position = |id: &str| declared.iter().position(|input| input.id.0 == id);
        inputs.0.sort_by_key(|resolved| position(&resolved.id));
        Ok(inputs)
    }

    fn resolve_one(&self, input: &Input, given: Option<&str>, scope: &Scope) -> Result<Resolved> {
        let id = &input.id.0;
        let fill = |template: &Template| {
            scope.fill(template).map_err(|fault| {
                let text = format!("input {id:?}: {}", fault.message);
                Error::new(Kind::Configuration, text)
            })
        };
        let resolved = |text: Option<String>, data: Data, is_enabled| Resolved {
            id: id.clone(),
            input_type: input.input_type,
            text,
            data,
            is_enabled,
        };
        if !self.is_enabled(input, scope)? {
            return Ok(resolved(None, Data::UNDEFINED, false));
        }
        let allowed = match &input.expression {
            Some(expression) => Some(allowed_values(id, &fill(expression)?)?),
            None => input.values.clone(),
        };
        let default = match &input.default {
            Some(default) => Some(match &default.template {
                Some(template) => fill(template)?,
                None => default.text.clone(),
            }),
            None => allowed
                .as_ref()
                .and_then(|values| values.first().cloned())
                .filter(|_| input.auto_select_first),
        };
        let Some(value) = given.map(str::to_owned).or(default) else {
            return match input.required {
                true => Err(usage(format!("missing value for the required input {id:?}"))),
                false => Ok(resolved(None, Data::from(()), true)),
            };
        };
        let is_secret = input.input_type == InputType::Secret;
        if is_secret {
            scope.library.secrets.keep(&value);
        }
        if let Some(expected) = input.refuse_among(&value, allowed.as_deref()) {
            let shown = if is_secret { MASK } else { &value };
            return Err(usage(format!("invalid value {shown:?} for the input {id:?}: {expected}")));
        }
        if input.input_type == InputType::File && !Path::new(&value).is_file() {
            return Err(usage(format!(
                "invalid value {value:?} for the input {id:?}: the file does not exist"
            )));
        }
        let data = input.data(&value);
        Ok(resolved(Some(value), data, true))
    }

    /// Whether the inputs that `input` depends on exist, and its condition holds.
    fn is_enabled(&self, input: &Input, scope: &Scope) -> Result<bool> {
        let Some(depends_on) = &input.depends_on else { return Ok(true) };
        let is_disabled = |id: &String| self.0.iter().any(|other| other.id == *id && !other.is_enabled);
        if depends_on.inputs.iter().any(is_disabled) {
            return Ok(false);
        }
        depends_on.condition.as_ref().map_or(Ok(true), |condition| {
            scope.is_true(condition).map_err(|fault| {
                let text = format!("input {:?}: {}", input.id.0, fault.message);
                Error::new(Kind::Configuration, text)
            })
        })
    }

    /// The text of an input. `None` if an optional input has no value.
    pub(crate) fn get(&self, id: &str) -> Option<&str> {
        self.0.iter().find(|input| input.id == id).and_then(|input| input.text.as_deref())
    }

    /// Replaces the path of each FILE input by the path that `store` returns for it.
    pub(crate) fn store_files(&mut self, store: impl Fn(&Path) -> Result<PathBuf>) -> Result<()> {
        for input in self.0.iter_mut().filter(|input| input.input_type == InputType::File) {
            if let Some(path) = &input.text {
                let stored = store(Path::new(path))?.display().to_string();
                (input.data, input.text) = (stored.as_str().into(), Some(stored));
            }
        }
        Ok(())
    }

    /// Names and texts of the inputs, for the run history. Secrets are masked.
    pub(crate) fn into_pairs(self) -> Vec<(String, String)> {
        let shown = |input: Resolved| match input.input_type {
            InputType::Secret => input.text.map(|_| (input.id, MASK.to_owned())),
            _ => input.text.map(|text| (input.id, text)),
        };
        self.0.into_iter().filter_map(shown).collect()
    }

    /// The inputs as expressions see them.
    pub(crate) fn data(&self) -> Data {
        let enabled = self.0.iter().filter(|input| input.is_enabled);
        Data::from_pairs(enabled.map(|input| (input.id.as_str(), input.data.clone())))
    }
}

/// The given values with secrets masked, for a run that did not begin.
pub(crate) fn masked(
    declared: &[Input],
    given: &[(String, String)],
    secrets: &Secrets,
) -> Vec<(String, String)> {
    let is_secret =
        |name: &str| declared.iter().any(|input| input.id.0 == name && input.input_type == InputType::Secret);
    let shown = |(name, value): &(String, String)| match is_secret(name) {
        true => (name.clone(), MASK.to_owned()),
        false => (name.clone(), secrets.hide(value)),
    };
    given.iter().map(shown).collect()
}

/// The declarations, each after those that it depends on.
fn in_order(declared: &[Input]) -> Result<Vec<&Input>> {
    let mut ordered: Vec<&Input> = Vec::new();
    let mut waiting: Vec<&Input> = declared.iter().collect();
    while !waiting.is_empty() {
        let waits = |input: &Input| {
            let needed = input.depends_on.iter().flat_map(|depends_on| &depends_on.inputs);
            needed.filter(|id| **id != input.id.0).any(|id| waiting.iter().any(|other| other.id.0 == *id))
        };
        let (blocked, ready): (Vec<&Input>, Vec<&Input>) = waiting.iter().partition(|input| waits(input));
        if ready.is_empty() {
            let ids: Vec<&str> = blocked.iter().map(|input| input.id.0.as_str()).collect();
            return Err(usage(format!("the inputs {} depend on each other", ids.join(", "))));
        }
        ordered.extend(ready);
        waiting = blocked;
    }
    Ok(ordered)
}

/// The values that the `expression` of a SELECT input yields.
fn allowed_values(id: &str, text: &str) -> Result<Vec<String>> {
    let Ok(Json::Array(values)) = serde_json::from_str(text) else {
        return Err(usage(format!("the `expression` of the input {id:?} does not yield a list: {text:?}")));
    };
    let text = |value: Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Ok(values.into_iter().filter(|value| !value.is_null()).map(text).collect())
}

fn usage(text: String) -> Error {
    Error::new(Kind::Usage, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::model::flow::Flow;

    fn resolve(inputs: &str, given: &[(&str, &str)]) -> Result<Inputs> {
        let text = format!(
            "id: a\nnamespace: b\ninputs:\n{inputs}tasks: [{{id: t, type: io.kestra.plugin.core.log.Log, message: m}}]\n"
        );
        let flow = Flow::parse("a.yaml", &text).unwrap();
        let given: Vec<(String, String)> =
            given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Inputs::resolve(&flow.inputs, &given, &Scope::new(&Secrets::default()))
    }

    #[test]
    fn values_have_their_types_in_expressions() {
        let inputs = "  - {name: old, type: STRING, defaults: x}
  - {id: list, type: ARRAY, itemType: INT, defaults: [1, 2]}
  - {id: many, type: MULTISELECT, values: [a, b], defaults: [b]}
  - {id: json, type: JSON, defaults: '{\"k\": [1]}'}
  - {id: yaml, type: YAML, defaults: {k: v}}
  - {id: later, type: STRING, dependsOn: {inputs: [last]}, defaults: '{{ inputs.last }}!'}
  - {id: last, type: SELECT, expression: '{{ [\"p\", \"q\"] }}', autoSelectFirst: true}
  - {id: off, type: STRING, dependsOn: {inputs: [last], condition: '{{ inputs.last == \"q\" }}'}}
  - {id: below, type: STRING, dependsOn: {inputs: [off]}}
";
        let resolved = resolve(inputs, &[]).unwrap();
        let expected = r#"{"old":"x","list":[1,2],"many":["b"],"json":{"k":[1]},"yaml":{"k":"v"},"later":"p!","last":"p"}"#;
        assert_eq!(serde_json::to_string(&resolved.data()).unwrap(), expected);
        let error = resolve(inputs, &[("last", "q")]).unwrap_err().to_string();
        assert_eq!(error, "missing value for the required input \"off\"");
        let error = resolve(inputs, &[("last", "r")]).unwrap_err().to_string();
        assert_eq!(error, "invalid value \"r\" for the input \"last\": expected one of p, q");
    }

    #[test]
    fn a_secret_is_neither_stored_nor_shown() {
        let inputs = "  - {id: token, type: SECRET, validator: 'tok-.*'}\n";
        let resolved = resolve(inputs, &[("token", "tok-abc")]).unwrap();
        assert_eq!(resolved.data().get_attr("token").unwrap().as_str(), Some("tok-abc"));
        assert_eq!(resolved.into_pairs(), [("token".to_owned(), MASK.to_owned())]);
        let error = resolve(inputs, &[("token", "hidden-one")]).unwrap_err().to_string();
        assert!(!error.contains("hidden-one"), "{error}");
    }

    #[test]
    fn inputs_that_depend_on_each_other_are_refused() {
        let inputs = "  - {id: a, type: STRING, dependsOn: {inputs: [b]}}\n  - {id: b, type: STRING, dependsOn: {inputs: [a]}}\n";
        assert_eq!(resolve(inputs, &[]).unwrap_err().to_string(), "the inputs a, b depend on each other");
    }
}
