//! Labels: what a run can be found by.

use super::decode::{Decode, Decoder, Entries, properties};
use super::document::{Node, Value};
use super::expression::Template;

properties! {
    /// A label.
    pub struct Label as "a label" {
        /// Its name.
        "key" => key: String,
        /// Its value.
        "value" => value: Template,
    }
}

/// Labels, as a mapping or as a list of key and value.
#[derive(Clone, Debug, Default)]
pub struct Labels(pub Vec<(String, Template)>);

impl Decode for Labels {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        Some(Self(match node.value {
            Value::List(_) => {
                let labels = Vec::<Label>::decode(node, decoder)?;
                labels.into_iter().map(|label| (label.key, label.value)).collect()
            }
            _ => Entries::decode(node, decoder)?.0,
        }))
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({ "anyOf": [Entries::<Template>::schema(), Vec::<Label>::schema()] })
    }
}
