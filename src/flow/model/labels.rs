//! Labels of runs: names and values that runs can be searched by.

use crate::flow::expression::Template;
use crate::flow::yaml::decode::{Decode, Decoder, Entries, properties};
use crate::flow::yaml::document::{Node, YamlValue};

properties! {
    /// A label.
    pub(crate) struct Label as "a label" {
        /// Name of the label.
        "key" => key: String,
        /// Value of the label.
        "value" => value: Template,
    }
}

/// Labels, written as a mapping or as a list of keys and values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Labels(pub(crate) Vec<(String, Template)>);

impl Decode for Labels {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        Some(Self(match node.value {
            YamlValue::List(_) => {
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
