//! A property that is a mapping of names to texts, or an expression that yields one.

use serde_json::{Value as Json, json};

use crate::flow::expression::{Scope, Template};
use crate::flow::yaml::decode::{Decode, Decoder, Entries};
use crate::flow::yaml::document::{Diagnostic, Node, Position, YamlValue};

/// Pairs of texts: written as a mapping, or computed by an expression.
#[derive(Clone, Debug)]
pub(crate) struct Pairs {
    position: Position,
    written: Written,
}

#[derive(Clone, Debug)]
enum Written {
    /// A literal mapping.
    Mapping(Vec<(String, Template)>),
    /// An expression that yields a JSON object.
    Computed(Template),
}

impl Default for Pairs {
    fn default() -> Self {
        Self { position: Position::default(), written: Written::Mapping(Vec::new()) }
    }
}

impl Decode for Pairs {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let written = match node.value {
            YamlValue::Map(_) | YamlValue::Null => Written::Mapping(Entries::decode(node, decoder)?.0),
            _ => Written::Computed(Template::decode(node, decoder)?),
        };
        Some(Self { position: node.position, written })
    }

    fn schema() -> Json {
        json!({ "anyOf": [Template::schema(), Entries::<Template>::schema()] })
    }
}

impl Pairs {
    /// Where the property stands in the flow's file.
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// The pairs, with all values filled in. An empty text stands for no pairs.
    pub(crate) fn resolve(&self, scope: &Scope) -> Result<Vec<(String, String)>, Diagnostic> {
        let template = match &self.written {
            Written::Mapping(entries) => {
                let filled = entries.iter().map(|(name, value)| Ok((name.clone(), scope.fill(value)?)));
                return filled.collect();
            }
            Written::Computed(template) => template,
        };
        let text = scope.fill(template)?;
        match serde_json::from_str(if text.is_empty() { "{}" } else { &text }) {
            Ok(Json::String(text)) if text.is_empty() => Ok(Vec::new()),
            Ok(Json::Object(entries)) => {
                let text = |value: Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                Ok(entries.into_iter().map(|(name, value)| (name, text(value))).collect())
            }
            _ => {
                let message = format!("expected a JSON object, found {text:?}");
                Err(Diagnostic { position: template.position, message })
            }
        }
    }
}
