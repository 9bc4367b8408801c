//! Decodes nodes into types. `properties!` declares the properties of a type once; the decoder and the JSON Schema
//! are both generated from that declaration.
//!
//! In: the nodes of a document. Out: typed values, all faults, and notes on properties that have no effect here.
//! Refused: an unknown property, a missing property, a value of the wrong kind.

use serde_json::{Value as Json, json};

use super::hints;
pub(crate) use super::values::{Entries, Id};
use crate::flow::expression::syntax::Reference;
use crate::flow::expression::{Template, fault_of};
use crate::flow::yaml::document::{Diagnostic, Node, Position, YamlValue, locate};

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
    /// Older keys of the property.
    pub(crate) aliases: &'static [&'static str],
    /// Description of the property, for the JSON Schema.
    pub(crate) about: &'static str,
    /// The JSON Schema of the property's value.
    pub(crate) schema: Json,
    /// Whether the property is required.
    pub(crate) required: bool,
    /// Why the property has no effect, if it is accepted without one.
    pub(crate) note: Option<&'static str>,
}

impl Property {
    /// A property that is not required.
    pub(crate) fn optional(name: &'static str, about: &'static str, schema: Json) -> Self {
        Self { name, aliases: &[], about, schema, required: false, note: None }
    }
}

/// Declares a type by its properties: its name in messages, then `key => field: type` for each property, with a
/// default value if it is optional; `key | older_key` accepts an older name of the property too. A field whose name begins with `_` is only checked. `=> "reason"` after the default
/// marks a property that has no effect here: it is accepted with a note. `with` adds the properties of another type.
macro_rules! properties {
    (
        $(#[doc = $about:literal])+
        pub(crate) struct $type_name:ident as $name:literal {
            $( $(#[doc = $doc:literal])+ $key:literal $(| $alias:literal)* => $field:ident : $type:ty $(= $default:expr $(=> $note:literal)?)? , )*
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
                $( let $field: Option<$type> = properties!(@take fields decoder [$key $(, $alias)*] $(, $default $(, $note)?)?); )*
                $( $( let $shared = <$shared_type>::take(fields, decoder); )+ )?
                Some(Self { $( $field: $field?, )* $( $( $shared: $shared?, )+ )? })
            }

            fn properties() -> Vec<$crate::flow::yaml::decode::Property> {
                let own = [ $( $crate::flow::yaml::decode::Property {
                    name: $key,
                    aliases: &[$($alias),*],
                    about: concat!($($doc),+),
                    schema: <$type as $crate::flow::yaml::decode::Decode>::schema(),
                    required: properties!(@required $($default)?),
                    note: properties!(@note $($($note)?)?),
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
    (@take $fields:ident $decoder:ident $keys:tt) => { $fields.required(&$keys, $decoder) };
    (@take $fields:ident $decoder:ident $keys:tt, $default:expr) => {
        match $fields.take_first(&$keys) {
            Some(node) => $decoder.within($keys[0], node),
            None => Some($default),
        }
    };
    (@take $fields:ident $decoder:ident $keys:tt, $default:expr, $note:literal) => {{
        $fields.note(&$keys, $note, $decoder);
        properties!(@take $fields $decoder $keys, $default)
    }};
    (@note) => { None };
    (@note $note:literal) => { Some($note) };
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
    /// Key, name and value of each entry.
    pub(super) entries: Vec<(&'a Node, &'a str, &'a Node)>,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// Takes the value node of a key, if the key is present.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<&'a Node> {
        self.known.push(name);
        let index = self.entries.iter().position(|(_, key, _)| *key == name)?;
        Some(self.entries.remove(index).2)
    }

    /// Takes the value node of the first of these keys that is present: the key of a property, then its older keys.
    pub(crate) fn take_first(&mut self, keys: &[&'static str]) -> Option<&'a Node> {
        let found = keys.iter().find(|key| self.entries.iter().any(|(_, name, _)| name == *key));
        // the older keys are not suggested
        self.known.extend(keys.first());
        found.and_then(|key| self.take(key))
    }

    /// Notes that a property has no effect, if it is present.
    pub(crate) fn note(&self, keys: &[&str], reason: &str, decoder: &mut Decoder) {
        if let Some((key, name, _)) = self.entries.iter().find(|(_, name, _)| keys.contains(name)) {
            decoder.note(key.position, format!("`{name}` has no effect: {reason}"));
        }
    }

    /// Takes and decodes the value of a required property.
    pub(crate) fn required<T: Decode>(&mut self, keys: &[&'static str], decoder: &mut Decoder) -> Option<T> {
        match self.take_first(keys) {
            Some(node) => decoder.within(keys.first().copied().unwrap_or_default(), node),
            None => {
                let name = keys.first().copied().unwrap_or_default();
                decoder.refuse(self.position, format!("missing property `{name}` in {}", self.what))
            }
        }
    }

    /// Where the mapping starts.
    pub(crate) const fn position(&self) -> Position {
        self.position
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

/// A variable that an expression of the document reads.
#[derive(Debug)]
pub(crate) struct Used {
    /// Where its name is.
    pub(crate) position: Position,
    /// The name of the variable.
    pub(crate) root: String,
    /// The first key after it.
    pub(crate) key: Option<String>,
    /// Whether a run certainly fails if the variable does not exist.
    pub(crate) is_certain: bool,
}

/// Properties that a run does not always evaluate.
const LAZY: [&str; 6] = ["runIf", "url", "username", "password", "errorMessage", "taskRunner"];

/// Collects the faults of a document, and its notes.
#[derive(Default)]
pub(crate) struct Decoder {
    /// The text of the document.
    source: String,
    /// The variables that the expressions read.
    pub(crate) used: Vec<Used>,
    /// The properties around the node that is decoded.
    path: Vec<&'static str>,
    /// The number of tasks around the node that may not run.
    conditional_tasks: u32,
    pub(crate) diagnostics: Vec<Diagnostic>,
    pub(crate) notes: Vec<Diagnostic>,
    pub(crate) defaults: Vec<Defaults>,
}

impl Decoder {
    /// A decoder for the document with this text.
    pub(crate) fn new(source: &str, defaults: Vec<Defaults>) -> Self {
        Self { source: source.to_owned(), defaults, ..Self::default() }
    }

    /// Records a fault.
    pub(crate) fn refuse<T>(&mut self, position: Position, message: impl Into<String>) -> Option<T> {
        self.diagnostics.push(Diagnostic { position, message: message.into() });
        None
    }

    /// Records a note: something that is accepted and has no effect here, or probably not the intended one.
    pub(crate) fn note(&mut self, position: Position, message: impl Into<String>) {
        self.notes.push(Diagnostic { position, message: message.into() });
    }

    /// Decodes the value of a property.
    pub(crate) fn within<T: Decode>(&mut self, property: &'static str, node: &Node) -> Option<T> {
        self.path.push(property);
        let value = T::decode(node, self);
        self.path.pop();
        value
    }

    /// Decodes a part of a task, which may not run if `is_conditional`.
    pub(crate) fn conditionally<T>(
        &mut self,
        is_conditional: bool,
        decode: impl FnOnce(&mut Self) -> T,
    ) -> T {
        self.conditional_tasks += u32::from(is_conditional);
        let value = decode(self);
        self.conditional_tasks -= u32::from(is_conditional);
        value
    }

    /// Decodes a text with expressions.
    pub(crate) fn template(&mut self, node: &Node) -> Option<Template> {
        let text = self.text(node)?;
        let position = |at: usize| locate(&self.source, node.position, &text, at);
        let (template, references) = match Template::parse(&text, node.position) {
            Ok(parsed) => parsed,
            Err(fault) => return self.refuse(position(fault.at), fault_of(&text, &fault)),
        };
        // a run evaluates a property of a task in the flow's own list, or in lists of those
        let is_reached = self.conditional_tasks == 0
            && matches!(self.path.split_last(), Some((last, lists)) if !LAZY.contains(last)
                && !lists.is_empty() && lists.iter().all(|list| *list == "tasks"));
        let used = references.into_iter().filter(|reference| !reference.is_guarded);
        let used: Vec<Used> = used
            .map(|Reference { root, key, at, is_strict, .. }| Used {
                position: position(at),
                root,
                key,
                is_certain: is_strict && is_reached,
            })
            .collect();
        self.used.extend(used);
        Some(template)
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
            let suggestion = hints::property(name, &fields.known);
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
    // JSON Schema would require the key even if an older key is given
    let is_required = |property: &&Property| property.required && property.aliases.is_empty();
    let required: Vec<&str> = properties.iter().filter(is_required).map(|property| property.name).collect();
    let described =
        properties.into_iter().flat_map(|Property { name, aliases, about, mut schema, .. }| {
            if let Json::Object(schema) = &mut schema {
                schema.entry("description").or_insert_with(|| about.trim().into());
            }
            [name]
                .into_iter()
                .chain(aliases.iter().copied())
                .map(move |name| (name.to_owned(), schema.clone()))
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
