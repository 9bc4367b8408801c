//! Properties whose values have a structure: a list, or an expression that yields one; a value of any structure.

use serde_json::{Number, Value as Json, json};

use crate::flow::expression::{Scope, Template};
use crate::flow::yaml::decode::{Decode, Decoder, Entries};
use crate::flow::yaml::document::{Diagnostic, Node, YamlValue};

/// A list of values: written as a list, or computed by an expression.
#[derive(Clone, Debug)]
pub(crate) enum Values {
    /// A literal list.
    List(Vec<Template>),
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
        json!({ "anyOf": [Template::schema(), Vec::<Template>::schema()] })
    }
}

impl Values {
    /// The values as text: strings unchanged, everything else as JSON.
    pub(crate) fn resolve(&self, scope: &Scope) -> Result<Vec<String>, Diagnostic> {
        let template = match self {
            Self::List(templates) => return templates.iter().map(|template| scope.fill(template)).collect(),
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
