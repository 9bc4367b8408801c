//! Properties whose values have a structure: a list, or an expression that yields one; a value of any structure. And
//! values that an expression may yield when the task runs.

use serde_json::{Number, Value as Json, json};

use crate::flow::expression::{Scope, Template, pebble};
use crate::flow::yaml::decode::{Decode, Decoder, Entries};
use crate::flow::yaml::document::{Diagnostic, Node, YamlValue};

/// A list of values: written as a list, or computed by an expression.
#[derive(Clone, Debug)]
pub(crate) enum Values {
    /// A literal list.
    List(Vec<ListItem>),
    /// An expression that yields a JSON array.
    Computed(Template),
}

impl Decode for Values {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        match node.value {
            YamlValue::List(_) => Vec::decode(node, decoder).map(Self::List),
            _ => Template::decode(node, decoder).map(Self::Computed),
        }
    }

    fn schema() -> Json {
        json!({ "anyOf": [Template::schema(), Vec::<ListItem>::schema()] })
    }
}

/// An item of a literal list.
#[derive(Clone, Debug)]
pub(crate) enum ListItem {
    /// A scalar.
    Text(Template),
    /// A list or a mapping, which becomes JSON.
    Structure(Dynamic),
}

impl Decode for ListItem {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        match node.value {
            YamlValue::List(_) | YamlValue::Map(_) => Dynamic::decode(node, decoder).map(Self::Structure),
            _ => Template::decode(node, decoder).map(Self::Text),
        }
    }

    fn schema() -> Json {
        json!({})
    }
}

impl ListItem {
    fn resolve(&self, scope: &Scope) -> Result<String, Diagnostic> {
        match self {
            Self::Text(template) => scope.fill(template),
            Self::Structure(value) => Ok(value.resolve(scope)?.to_string()),
        }
    }
}

impl Values {
    /// The values as text: strings unchanged, everything else as JSON.
    pub(crate) fn resolve(&self, scope: &Scope) -> Result<Vec<String>, Diagnostic> {
        let template = match self {
            Self::List(items) => return items.iter().map(|item| item.resolve(scope)).collect(),
            Self::Computed(template) => template,
        };
        let text = scope.fill(template)?;
        let Ok(Json::Array(values)) = serde_json::from_str(&text) else {
            let message = format!("expected a JSON array, found {text:?}");
            return Err(Diagnostic { position: template.position, message });
        };
        let text = |value: Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Ok(values.into_iter().map(text).collect())
    }
}

/// A value of any structure, with expressions in its texts.
#[derive(Clone, Debug)]
pub(crate) enum Dynamic {
    /// A text.
    Text(Template),
    /// Null, a boolean or a number.
    Scalar(Json),
    /// A list.
    List(Vec<Self>),
    /// A mapping.
    Map(Vec<(String, Self)>),
}

impl Decode for Dynamic {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        Some(match &node.value {
            YamlValue::Null => Self::Scalar(Json::Null),
            YamlValue::Bool(value) => Self::Scalar(json!(value)),
            YamlValue::Number(text) => {
                Self::Scalar(text.parse::<Number>().map_or_else(|_| json!(text), Json::Number))
            }
            YamlValue::Text(_) => Self::Text(Template::decode(node, decoder)?),
            YamlValue::List(_) => Self::List(Vec::decode(node, decoder)?),
            YamlValue::Map(_) => Self::Map(Entries::decode(node, decoder)?.0),
        })
    }

    fn schema() -> Json {
        json!({})
    }
}

impl Dynamic {
    /// The value with its expressions evaluated. An expression yields a text.
    pub(crate) fn resolve(&self, scope: &Scope) -> Result<Json, Diagnostic> {
        Ok(match self {
            Self::Text(template) => json!(scope.fill(template)?),
            Self::Scalar(value) => value.clone(),
            Self::List(items) => items.iter().map(|item| item.resolve(scope)).collect::<Result<_, _>>()?,
            Self::Map(entries) => {
                let entry = |(name, value): &(String, Self)| Ok((name.clone(), value.resolve(scope)?));
                Json::Object(entries.iter().map(entry).collect::<Result<_, _>>()?)
            }
        })
    }
}

/// A value, or an expression that yields it when the task runs.
#[derive(Clone, Debug)]
pub(crate) enum Rendered<T> {
    /// The value.
    Known(T),
    /// The expression.
    Later(Template),
}

impl<T: Decode> Decode for Rendered<T> {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        match &node.value {
            YamlValue::Text(text) if !pebble::is_plain(text) => {
                Template::decode(node, decoder).map(Self::Later)
            }
            _ => T::decode(node, decoder).map(Self::Known),
        }
    }

    fn schema() -> Json {
        json!({ "anyOf": [T::schema(), { "type": "string", "pattern": r"\{[\{%]" }] })
    }
}

impl<T: Decode + Clone> Rendered<T> {
    /// The value. What an expression yields is checked like a value in the flow.
    pub(crate) fn resolve(&self, scope: &Scope) -> Result<T, Diagnostic> {
        let template = match self {
            Self::Known(value) => return Ok(value.clone()),
            Self::Later(template) => template,
        };
        let position = template.position;
        let node = Node { value: YamlValue::Text(scope.fill(template)?), position };
        let mut decoder = Decoder::default();
        T::decode(&node, &mut decoder).ok_or_else(|| {
            let fault = decoder.diagnostics.pop();
            fault.unwrap_or_else(|| Diagnostic { position, message: "invalid value".to_owned() })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use minijinja::context;

    use super::*;
    use crate::flow::yaml::document::Position;
    use crate::secrets::Secrets;

    #[test]
    fn a_value_is_checked_when_the_flow_is_read_and_that_of_an_expression_when_the_task_runs() {
        let scope = Scope::new(&Secrets::default()).with("vars", context! { seconds => 5 });
        let read = |text: &str| {
            let mut decoder = Decoder::default();
            let node = Node { value: YamlValue::Text(text.to_owned()), position: Position::default() };
            let value = Rendered::<Duration>::decode(&node, &mut decoder);
            value.ok_or_else(|| decoder.diagnostics.remove(0).message)
        };
        let resolved = |text: &str| read(text).unwrap().resolve(&scope).map_err(|fault| fault.message);
        let expected = "expected an ISO 8601 duration like PT30S, PT5M or P1D";
        assert_eq!(read("5m").unwrap_err(), format!("invalid value \"5m\": {expected}"));
        assert_eq!(resolved("PT5S"), Ok(Duration::from_secs(5)));
        assert_eq!(resolved("PT{{ vars.seconds }}S"), Ok(Duration::from_secs(5)));
        assert_eq!(resolved("{{ vars.seconds }}m"), Err(format!("invalid value \"5m\": {expected}")));
    }
}
