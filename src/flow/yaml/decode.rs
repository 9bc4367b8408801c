//! Decodes nodes into types. `properties!` declares the properties of a type once; the decoder and the JSON Schema
//! are both generated from that declaration.
//!
//! In: the nodes of a document. Out: typed values, and all faults. Refused: an unknown property, a missing
//! property, a value of the wrong kind.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo, Unit};
use serde_json::{Value as Json, json};

use crate::flow::expression::Template;
use crate::flow::yaml::document::{Diagnostic, Node, Position, YamlValue};

/// Jaro-Winkler similarity above which a known property is suggested for an unknown one.
const SUGGESTION_THRESHOLD: f64 = 0.75;

/// A type that can be decoded from a node.
pub(crate) trait Decode: Sized {
    /// Decodes the node. If the node is invalid, adds a fault to the decoder and returns `None`.
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self>;

    /// The JSON Schema of the values that this type accepts.
    fn schema() -> Json;
}

/// A type that is decoded from a mapping, property by property.
pub(crate) trait Properties: Sized {
    /// Description of the type, for the JSON Schema.
    const ABOUT: &'static str;
    /// Name of the type in messages: `a task`.
    const NAME: &'static str;

    /// Takes the properties of this type and leaves the others in `fields`.
    fn take(fields: &mut Fields<'_>, decoder: &mut Decoder) -> Option<Self>;

    /// The properties of this type.
    fn properties() -> Vec<Property>;
}

/// One property of a type.
pub(crate) struct Property {
    /// Key of the property.
    pub(crate) name: &'static str,
    /// Description of the property, for the JSON Schema.
    pub(crate) about: &'static str,
    /// The JSON Schema of the property's value.
    pub(crate) schema: Json,
    /// Whether the property is required.
    pub(crate) required: bool,
}

/// Declares a type by its properties: its name in messages, then `key => field: type` for each property, with a
/// default value if it is optional. A field whose name begins with `_` is only checked. `with` adds the properties of another type.
macro_rules! properties {
    (
        $(#[doc = $about:literal])+
        pub(crate) struct $type_name:ident as $name:literal {
            $( $(#[doc = $doc:literal])+ $key:literal => $field:ident : $type:ty $(= $default:expr)? , )*
            $( with { $( $(#[doc = $shared_doc:literal])+ $shared:ident : $shared_type:ty , )+ } )?
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug)]
        pub(crate) struct $type_name {
            $( $(#[doc = $doc])+ pub(crate) $field: $type, )*
            $( $( $(#[doc = $shared_doc])+ pub(crate) $shared: $shared_type, )+ )?
        }

        impl $crate::flow::yaml::decode::Properties for $type_name {
            const ABOUT: &'static str = concat!($($about),+);
            const NAME: &'static str = $name;

            fn take(
                fields: &mut $crate::flow::yaml::decode::Fields<'_>,
                decoder: &mut $crate::flow::yaml::decode::Decoder,
            ) -> Option<Self> {
                // avoids unused-variable warnings for a type without properties
                let _ = (&fields, &decoder);
                $( let $field: Option<$type> = properties!(@take fields decoder $key $(, $default)?); )*
                $( $( let $shared = <$shared_type>::take(fields, decoder); )+ )?
                Some(Self { $( $field: $field?, )* $( $( $shared: $shared?, )+ )? })
            }

            fn properties() -> Vec<$crate::flow::yaml::decode::Property> {
                let own = [ $( $crate::flow::yaml::decode::Property {
                    name: $key,
                    about: concat!($($doc),+),
                    schema: <$type as $crate::flow::yaml::decode::Decode>::schema(),
                    required: properties!(@required $($default)?),
                }, )* ];
                own.into_iter()$( $( .chain(<$shared_type>::properties()) )+ )?.collect()
            }
        }

        impl $crate::flow::yaml::decode::Decode for $type_name {
            fn decode(
                node: &$crate::flow::yaml::document::Node,
                decoder: &mut $crate::flow::yaml::decode::Decoder,
            ) -> Option<Self> {
                decoder.object(node)
            }

            fn schema() -> serde_json::Value {
                $crate::flow::yaml::decode::object_schema::<Self>()
            }
        }
    };
    (@take $fields:ident $decoder:ident $key:literal) => { $fields.required($key, $decoder) };
    (@take $fields:ident $decoder:ident $key:literal, $default:expr) => {
        match $fields.take($key) {
            Some(node) => $crate::flow::yaml::decode::Decode::decode(node, $decoder),
            None => Some($default),
        }
    };
    (@required) => { true };
    (@required $default:expr) => { false };
}

/// Declares an enum that is decoded from one of several fixed names.
macro_rules! choices {
    (
        $(#[doc = $about:literal])+
        pub(crate) enum $type_name:ident { $( $(#[doc = $doc:literal])+ $variant:ident = $text:literal, )+ }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $type_name { $( $(#[doc = $doc])+ $variant, )+ }

        impl $crate::flow::yaml::decode::Decode for $type_name {
            fn decode(
                node: &$crate::flow::yaml::document::Node,
                decoder: &mut $crate::flow::yaml::decode::Decoder,
            ) -> Option<Self> {
                match decoder.text(node)?.as_str() {
                    $( $text => Some(Self::$variant), )+
                    other => decoder.refuse(
                        node.position,
                        format!("unsupported value {other:?}; supported values: {}", [$($text),+].join(", ")),
                    ),
                }
            }

            fn schema() -> serde_json::Value {
                serde_json::json!({ "enum": [$($text),+] })
            }
        }
    };
}

pub(crate) use {choices, properties};

/// The entries of a mapping that have not been taken yet.
pub(crate) struct Fields<'a> {
    position: Position,
    what: String,
    entries: Vec<(&'a Node, &'a str, &'a Node)>,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// Takes the value node of a key, if the key is present.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<&'a Node> {
        self.known.push(name);
        let index = self.entries.iter().position(|(_, key, _)| *key == name)?;
        Some(self.entries.remove(index).2)
    }

    /// Takes and decodes the value of a required key.
    pub(crate) fn required<T: Decode>(&mut self, name: &'static str, decoder: &mut Decoder) -> Option<T> {
        match self.take(name) {
            Some(node) => T::decode(node, decoder),
            None => decoder.refuse(self.position, format!("missing property `{name}` in {}", self.what)),
        }
    }

    /// Changes the name of the mapping in messages.
    pub(crate) fn rename(&mut self, what: &str) {
        what.clone_into(&mut self.what);
    }
}

/// Default property values for the tasks of one type, or of all types below a prefix. A task overrides them unless
/// they are forced.
#[derive(Clone, Debug)]
pub(crate) struct Defaults {
    pub(crate) prefix: String,
    pub(crate) entries: Vec<(Node, Node)>,
    pub(crate) forced: bool,
}

/// Collects the faults of a document.
#[derive(Default)]
pub(crate) struct Decoder {
    pub(crate) diagnostics: Vec<Diagnostic>,
    pub(crate) defaults: Vec<Defaults>,
}

impl Decoder {
    /// Records a fault.
    pub(crate) fn refuse<T>(&mut self, position: Position, message: impl Into<String>) -> Option<T> {
        self.diagnostics.push(Diagnostic { position, message: message.into() });
        None
    }

    /// Decodes a mapping as a type, and refuses properties that the type does not have.
    pub(crate) fn object<T: Properties>(&mut self, node: &Node) -> Option<T> {
        let mut fields = self.fields(node, T::NAME)?;
        let value = T::take(&mut fields, self);
        self.end(fields);
        value
    }

    /// The entries of a mapping, none of them taken yet.
    pub(crate) fn fields<'a>(&mut self, node: &'a Node, what: &str) -> Option<Fields<'a>> {
        let YamlValue::Map(entries) = &node.value else {
            return self.refuse(
                node.position,
                format!("expected a mapping for {what}, found {}", node.value.kind()),
            );
        };
        let mut named = Vec::new();
        for (key, value) in entries {
            match self.key(key) {
                Some(name) => named.push((key, name, value)),
                None => continue,
            }
        }
        Some(Fields { position: node.position, what: what.to_owned(), entries: named, known: Vec::new() })
    }

    fn key<'a>(&mut self, key: &'a Node) -> Option<&'a str> {
        match &key.value {
            YamlValue::Text(text) | YamlValue::Number(text) => Some(text),
            // the cases of a switch may be named true and false
            YamlValue::Bool(value) => Some(if *value { "true" } else { "false" }),
            other => self.refuse(key.position, format!("expected text as a key, found {}", other.kind())),
        }
    }

    /// Refuses every property that has not been taken.
    pub(crate) fn end(&mut self, fields: Fields<'_>) {
        for (key, name, _) in &fields.entries {
            let similarity = |known: &&&str| strsim::jaro_winkler(known, name);
            let nearest = fields.known.iter().max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
            let suggestion = nearest.filter(|known| similarity(known) > SUGGESTION_THRESHOLD);
            let suggestion = suggestion.map(|known| format!("; did you mean `{known}`?")).unwrap_or_default();
            let text = format!("unknown property `{name}` in {}{suggestion}", fields.what);
            self.refuse::<()>(key.position, text);
        }
    }

    /// The text of a scalar; a number or a boolean as written.
    pub(crate) fn text(&mut self, node: &Node) -> Option<String> {
        match &node.value {
            YamlValue::Text(text) | YamlValue::Number(text) => Some(text.clone()),
            YamlValue::Bool(value) => Some(value.to_string()),
            other => self.refuse(node.position, format!("expected text, found {}", other.kind())),
        }
    }
}

/// The JSON Schema of the mapping that `T` is decoded from.
pub(crate) fn object_schema<T: Properties>() -> Json {
    schema_of(T::ABOUT, T::properties())
}

/// The JSON Schema of a mapping that has `properties` and no others.
pub(crate) fn schema_of(about: &str, properties: Vec<Property>) -> Json {
    let required: Vec<&str> =
        properties.iter().filter(|property| property.required).map(|property| property.name).collect();
    let described = properties.into_iter().map(|Property { name, about, mut schema, .. }| {
        if let Json::Object(schema) = &mut schema {
            schema.entry("description").or_insert_with(|| about.trim().into());
        }
        (name.to_owned(), schema)
    });
    let described: serde_json::Map<String, Json> = described.collect();
    json!({
        "type": "object",
        "description": about.trim(),
        "properties": described,
        "required": required,
        "additionalProperties": false,
    })
}

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
        let entries: Vec<Option<(String, T)>> = fields
            .entries
            .into_iter()
            .map(|(_, name, value)| Some((name.to_owned(), T::decode(value, decoder)?)))
            .collect();
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
        let text = decoder.text(node)?;
        match Self::new(text, node.position) {
            Ok(template) => Some(template),
            Err(diagnostic) => decoder.refuse(diagnostic.position, diagnostic.message),
        }
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
fn duration(text: &str) -> Option<Duration> {
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
