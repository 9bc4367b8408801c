//! A property that is a list, or an expression that yields one.

use serde_json::{Value as Json, json};

use crate::flow::expression::{Scope, Template};
use crate::flow::yaml::decode::{Decode, Decoder};
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
