//! Decodes the values of properties: scalars, lists, mappings with arbitrary keys, durations and ids.
//!
//! In: a node. Out: a value of the type of the property. Refused: a value of another kind.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo, Unit};
use serde_json::{Value as Json, json};

use super::decode::{Decode, Decoder};
use super::document::{Node, YamlValue};
use crate::flow::expression::Template;

impl<T: Decode> Decode for Option<T> {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        match node.value {
            YamlValue::Null => Some(None),
            _ => T::decode(node, decoder).map(Some),
        }
    }

    fn schema() -> Json {
        T::schema()
    }
}

impl<T: Decode> Decode for Box<T> {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        T::decode(node, decoder).map(Self::new)
    }

    fn schema() -> Json {
        T::schema()
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        match &node.value {
            YamlValue::Null => Some(Self::new()),
            YamlValue::List(items) => {
                // decode every item, so that the faults of all items are found
                let items: Vec<Option<T>> = items.iter().map(|item| T::decode(item, decoder)).collect();
                items.into_iter().collect()
            }
            other => decoder.refuse(node.position, format!("expected a list, found {}", other.kind())),
        }
    }

    fn schema() -> Json {
        json!({ "type": "array", "items": T::schema() })
    }
}

/// A mapping with arbitrary keys, in the order of the file.
#[derive(Clone, Debug)]
pub(crate) struct Entries<T>(pub(crate) Vec<(String, T)>);

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Decode> Decode for Entries<T> {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        if let YamlValue::Null = node.value {
            return Some(Self::default());
        }
        let fields = decoder.fields(node, "this property")?;
        let decode =
            |(_, name, value): (&Node, &str, &Node)| Some((name.to_owned(), T::decode(value, decoder)?));
        let entries: Vec<Option<(String, T)>> = fields.entries.into_iter().map(decode).collect();
        entries.into_iter().collect::<Option<_>>().map(Self)
    }

    fn schema() -> Json {
        json!({ "type": "object", "additionalProperties": T::schema() })
    }
}

impl Decode for Node {
    fn decode(node: &Node, _: &mut Decoder) -> Option<Self> {
        Some(node.clone())
    }

    fn schema() -> Json {
        json!({})
    }
}

impl Decode for String {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        decoder.text(node)
    }

    fn schema() -> Json {
        json!({ "type": ["string", "number", "boolean"] })
    }
}

impl Decode for Template {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        decoder.template(node)
    }

    fn schema() -> Json {
        json!({ "type": ["string", "number", "boolean"] })
    }
}

impl Decode for bool {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        match &node.value {
            YamlValue::Bool(value) => Some(*value),
            other => decoder.refuse(node.position, format!("expected true or false, found {}", other.kind())),
        }
    }

    fn schema() -> Json {
        json!({ "type": "boolean" })
    }
}

impl Decode for u32 {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let text = decoder.text(node)?;
        text.parse().ok().or_else(|| {
            decoder.refuse(
                node.position,
                format!("invalid value {text:?}: expected a whole number, 0 or greater"),
            )
        })
    }

    fn schema() -> Json {
        json!({ "type": "integer", "minimum": 0 })
    }
}

impl Decode for f64 {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let text = decoder.text(node)?;
        let number = text.parse().ok().filter(|number: &Self| number.is_finite());
        number.or_else(|| decoder.refuse(node.position, format!("invalid value {text:?}: expected a number")))
    }

    fn schema() -> Json {
        json!({ "type": "number" })
    }
}

impl Decode for Duration {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let text = decoder.text(node)?;
        duration(&text).or_else(|| {
            let expected = "expected an ISO 8601 duration like PT30S, PT5M or P1D";
            decoder.refuse(node.position, format!("invalid value {text:?}: {expected}"))
        })
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^[Pp]" })
    }
}

/// Parses an ISO 8601 duration like `PT30S`; a day has 24 hours.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let span: Span = text.parse().ok().filter(|_| text.starts_with(['P', 'p']))?;
    let seconds = span.total((Unit::Second, SpanRelativeTo::days_are_24_hours())).ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// The id of a flow, an input, a task or a trigger, as used in expressions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Id(pub(crate) String);

impl Decode for Id {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let text = decoder.text(node)?;
        let is_valid = text.starts_with(|first: char| first.is_ascii_alphanumeric())
            && text.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-'));
        match is_valid {
            true => Some(Self(text)),
            false => decoder.refuse(
                node.position,
                format!(
                    "invalid id {text:?}: use letters, digits, _ and -, and start with a letter or a digit"
                ),
            ),
        }
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^[a-zA-Z0-9][a-zA-Z0-9_-]*$" })
    }
}
