//! From nodes to types: what a type is made of is declared once, with `properties!`, and gives both the reading of a
//! file and the JSON Schema.
//!
//! In: the nodes of a document. Out: types, and every fault that was found on the way. Refused: a property that nobody
//! reads, one that is missing, a value of another kind.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo, Unit};
use serde_json::{Value as Json, json};

use super::document::{Diagnostic, Node, Position, Value};
use super::expression::Template;

/// How alike a misspelt name and a known one must be for it to be suggested.
const LIKENESS: f64 = 0.75;

/// A type that a node can be read as.
pub trait Decode: Sized {
    /// Reads the node; `None` where it is faulty, and the decoder has the fault.
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self>;

    /// The JSON Schema of what is read.
    fn schema() -> Json;
}

/// A type that is read from a mapping, property by property.
pub trait Properties: Sized {
    /// What the type is, for people.
    const ABOUT: &'static str;
    /// What messages call it: `a task`.
    const NAME: &'static str;

    /// Takes the type's own properties; others are left.
    fn take(fields: &mut Fields<'_>, decoder: &mut Decoder) -> Option<Self>;

    /// What the properties are.
    fn properties() -> Vec<Property>;
}

/// A property of a type.
pub struct Property {
    /// Its key.
    pub name: &'static str,
    /// What it is, for people.
    pub about: &'static str,
    /// The JSON Schema of its value.
    pub schema: Json,
    /// Whether it has to be there.
    pub required: bool,
}

/// Declares a type by its properties: what messages call it, then `key => field: type`, with a default where it may be
/// left away; `with` adds the properties of another type to its own.
macro_rules! properties {
    (
        $(#[doc = $about:literal])+
        pub struct $type_name:ident as $name:literal {
            $( $(#[doc = $doc:literal])+ $key:literal => $field:ident : $type:ty $(= $default:expr)? , )*
            $( with { $( $(#[doc = $shared_doc:literal])+ $shared:ident : $shared_type:ty , )+ } )?
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug)]
        pub struct $type_name {
            $( $(#[doc = $doc])+ pub $field: $type, )*
            $( $( $(#[doc = $shared_doc])+ pub $shared: $shared_type, )+ )?
        }

        impl $crate::pipeline::decode::Properties for $type_name {
            const ABOUT: &'static str = concat!($($about),+);
            const NAME: &'static str = $name;

            fn take(
                fields: &mut $crate::pipeline::decode::Fields<'_>,
                decoder: &mut $crate::pipeline::decode::Decoder,
            ) -> Option<Self> {
                // a type may have no properties
                let _ = (&fields, &decoder);
                $( let $field: Option<$type> = properties!(@take fields decoder $key $(, $default)?); )*
                $( $( let $shared = <$shared_type>::take(fields, decoder); )+ )?
                Some(Self { $( $field: $field?, )* $( $( $shared: $shared?, )+ )? })
            }

            fn properties() -> Vec<$crate::pipeline::decode::Property> {
                let own = [ $( $crate::pipeline::decode::Property {
                    name: $key,
                    about: concat!($($doc),+),
                    schema: <$type as $crate::pipeline::decode::Decode>::schema(),
                    required: properties!(@required $($default)?),
                }, )* ];
                own.into_iter()$( $( .chain(<$shared_type>::properties()) )+ )?.collect()
            }
        }

        impl $crate::pipeline::decode::Decode for $type_name {
            fn decode(
                node: &$crate::pipeline::document::Node,
                decoder: &mut $crate::pipeline::decode::Decoder,
            ) -> Option<Self> {
                decoder.object(node)
            }

            fn schema() -> serde_json::Value {
                $crate::pipeline::decode::object_schema::<Self>()
            }
        }
    };
    (@take $fields:ident $decoder:ident $key:literal) => { $fields.required($key, $decoder) };
    (@take $fields:ident $decoder:ident $key:literal, $default:expr) => {
        match $fields.take($key) {
            Some(node) => $crate::pipeline::decode::Decode::decode(node, $decoder),
            None => Some($default),
        }
    };
    (@required) => { true };
    (@required $default:expr) => { false };
}

/// Declares a choice between names.
macro_rules! choices {
    (
        $(#[doc = $about:literal])+
        pub enum $type_name:ident { $( $(#[doc = $doc:literal])+ $variant:ident = $text:literal, )+ }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $type_name { $( $(#[doc = $doc])+ $variant, )+ }

        impl $crate::pipeline::decode::Decode for $type_name {
            fn decode(
                node: &$crate::pipeline::document::Node,
                decoder: &mut $crate::pipeline::decode::Decoder,
            ) -> Option<Self> {
                match decoder.text(node)?.as_str() {
                    $( $text => Some(Self::$variant), )+
                    other => decoder.refuse(
                        node.position,
                        format!("{other} is none of what is supported here: {}", [$($text),+].join(", ")),
                    ),
                }
            }

            fn schema() -> serde_json::Value {
                serde_json::json!({ "enum": [$($text),+] })
            }
        }
    };
}

pub(super) use {choices, properties};

/// The entries of a mapping that have not been read yet.
pub struct Fields<'a> {
    position: Position,
    what: String,
    entries: Vec<(&'a Node, &'a str, &'a Node)>,
    read: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// The node under a key, if there is one.
    pub fn take(&mut self, name: &'static str) -> Option<&'a Node> {
        self.read.push(name);
        let index = self.entries.iter().position(|(_, key, _)| *key == name)?;
        Some(self.entries.remove(index).2)
    }

    /// The value under a key that has to be there.
    pub fn required<T: Decode>(&mut self, name: &'static str, decoder: &mut Decoder) -> Option<T> {
        match self.take(name) {
            Some(node) => T::decode(node, decoder),
            None => decoder.refuse(self.position, format!("{} needs the property {name}", self.what)),
        }
    }

    /// Calls the mapping otherwise in messages.
    pub fn rename(&mut self, what: &str) {
        what.clone_into(&mut self.what);
    }
}

/// What applies to the tasks of a type, or of all types below a name, where they do not say otherwise.
#[derive(Clone, Debug)]
pub(super) struct Defaults {
    pub(super) prefix: String,
    pub(super) entries: Vec<(Node, Node)>,
    pub(super) forced: bool,
}

/// Gathers what is wrong with a document.
#[derive(Default)]
pub struct Decoder {
    pub(super) diagnostics: Vec<Diagnostic>,
    pub(super) defaults: Vec<Defaults>,
}

impl Decoder {
    /// Notes a fault.
    pub fn refuse<T>(&mut self, position: Position, message: impl Into<String>) -> Option<T> {
        self.diagnostics.push(Diagnostic { position, message: message.into() });
        None
    }

    /// Reads a mapping as a type, and refuses what the type does not have.
    pub fn object<T: Properties>(&mut self, node: &Node) -> Option<T> {
        let mut fields = self.fields(node, T::NAME)?;
        let value = T::take(&mut fields, self);
        self.end(fields);
        value
    }

    /// The entries of a mapping.
    pub fn fields<'a>(&mut self, node: &'a Node, what: &str) -> Option<Fields<'a>> {
        let Value::Map(entries) = &node.value else {
            return self.refuse(node.position, format!("{what} is a mapping, this is {}", node.value.kind()));
        };
        let mut named = Vec::new();
        for (key, value) in entries {
            match self.key(key) {
                Some(name) => named.push((key, name, value)),
                None => continue,
            }
        }
        Some(Fields { position: node.position, what: what.to_owned(), entries: named, read: Vec::new() })
    }

    fn key<'a>(&mut self, key: &'a Node) -> Option<&'a str> {
        match &key.value {
            Value::Text(text) | Value::Number(text) => Some(text),
            // a case of a switch may be called so
            Value::Bool(value) => Some(if *value { "true" } else { "false" }),
            other => self.refuse(key.position, format!("a key is text, this is {}", other.kind())),
        }
    }

    /// Refuses the properties that nobody has read.
    pub fn end(&mut self, fields: Fields<'_>) {
        for (key, name, _) in &fields.entries {
            let alike = |known: &&&str| strsim::jaro_winkler(known, name);
            let nearest = fields.read.iter().max_by(|one, two| alike(one).total_cmp(&alike(two)));
            let meant = nearest.filter(|known| alike(known) > LIKENESS);
            let meant = meant.map(|known| format!("; is {known} meant?")).unwrap_or_default();
            let text = format!("{} with the property {name} is not supported{meant}", fields.what);
            self.refuse::<()>(key.position, text);
        }
    }

    /// Plain text; a number or a boolean as it is written.
    pub fn text(&mut self, node: &Node) -> Option<String> {
        match &node.value {
            Value::Text(text) | Value::Number(text) => Some(text.clone()),
            Value::Bool(value) => Some(value.to_string()),
            other => self.refuse(node.position, format!("this must be text, it is {}", other.kind())),
        }
    }
}

/// The JSON Schema of a mapping with these properties.
pub fn object_schema<T: Properties>() -> Json {
    schema_of(T::ABOUT, T::properties())
}

/// The JSON Schema of a mapping that has `properties` and no others.
pub fn schema_of(about: &str, properties: Vec<Property>) -> Json {
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
            Value::Null => Some(None),
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
            Value::Null => Some(Self::new()),
            Value::List(items) => {
                // each is looked at, so that the faults of all of them are found
                let items: Vec<Option<T>> = items.iter().map(|item| T::decode(item, decoder)).collect();
                items.into_iter().collect()
            }
            other => decoder.refuse(node.position, format!("this must be a list, it is {}", other.kind())),
        }
    }

    fn schema() -> Json {
        json!({ "type": "array", "items": T::schema() })
    }
}

/// A mapping whose keys are the flow's own, in their order.
#[derive(Clone, Debug)]
pub struct Entries<T>(pub Vec<(String, T)>);

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Decode> Decode for Entries<T> {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        if let Value::Null = node.value {
            return Some(Self::default());
        }
        let fields = decoder.fields(node, "this")?;
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
            Value::Bool(value) => Some(*value),
            other => {
                decoder.refuse(node.position, format!("this must be true or false, it is {}", other.kind()))
            }
        }
    }

    fn schema() -> Json {
        json!({ "type": "boolean" })
    }
}

impl Decode for u32 {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let text = decoder.text(node)?;
        let refusal = || decoder.refuse(node.position, format!("{text:?} is not a number from 0 up"));
        text.parse().ok().or_else(refusal)
    }

    fn schema() -> Json {
        json!({ "type": "integer", "minimum": 0 })
    }
}

impl Decode for f64 {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let text = decoder.text(node)?;
        let number = text.parse().ok().filter(|number: &Self| number.is_finite());
        number.or_else(|| decoder.refuse(node.position, format!("{text:?} is not a number")))
    }

    fn schema() -> Json {
        json!({ "type": "number" })
    }
}

impl Decode for Duration {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let text = decoder.text(node)?;
        duration(&text).or_else(|| {
            decoder.refuse(node.position, format!("{text:?} is not a time like PT30S, PT5M or P1D"))
        })
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^[Pp]" })
    }
}

/// An ISO 8601 duration like `PT30S`; a day has 24 hours.
fn duration(text: &str) -> Option<Duration> {
    let span: Span = text.parse().ok().filter(|_| text.starts_with(['P', 'p']))?;
    let seconds = span.total((Unit::Second, SpanRelativeTo::days_are_24_hours())).ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// A name that expressions use: of a flow, an input, a task, a trigger.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Id(pub String);

impl Decode for Id {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let text = decoder.text(node)?;
        let sound = text.starts_with(|first: char| first.is_ascii_alphanumeric())
            && text.chars().all(|one| one.is_ascii_alphanumeric() || matches!(one, '_' | '-'));
        match sound {
            true => Some(Self(text)),
            false => decoder.refuse(
                node.position,
                format!(
                    "{text:?} is not an id: letters, digits, _ and -, beginning with a letter or a digit"
                ),
            ),
        }
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^[a-zA-Z0-9][a-zA-Z0-9_-]*$" })
    }
}
