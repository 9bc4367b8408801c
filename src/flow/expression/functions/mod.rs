//! What functions, filters and tests do, one file a kind of value. Filters and tests are called as functions whose
//! first argument is the value they apply to, see [`super::parse`].

pub(crate) mod collections;
pub(crate) mod dates;
pub(crate) mod files;
pub(crate) mod formats;
pub(crate) mod numbers;
pub(crate) mod operators;
pub(crate) mod run;
pub(crate) mod text;
mod yaml_text;

use std::sync::Arc;

use minijinja::value::{Rest, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, Value as Data};

use super::catalog::{ENTRIES, Entry, Role};
use super::library::Library;

pub(crate) type Result<T = Data> = std::result::Result<T, Error>;

/// What an entry of the catalog does.
pub(crate) type Body = fn(&Call<'_, '_, '_>) -> Result;

/// Filters that take null as a value. The others return null for it, as in Kestra.
const TAKE_NULL: [&str; 7] = ["default", "json", "length", "merge", "toIon", "toJson", "yaml"];

/// Filters that return a part of their text. A part of a secret is a secret, the rest of the text is none.
const CUT: [&str; 10] = [
    "abbreviate",
    "chunk",
    "first",
    "last",
    "slice",
    "split",
    "substringAfter",
    "substringAfterLast",
    "substringBefore",
    "substringBeforeLast",
];

/// A call of an entry.
pub(crate) struct Call<'call, 'template, 'environment> {
    /// The variables of the template.
    pub(crate) state: &'call State<'template, 'environment>,
    /// What the functions share.
    pub(crate) library: &'call Library,
    arguments: &'call [Data],
}

impl Call<'_, '_, '_> {
    /// The argument with this index. For a filter or a test, the value has the index 0.
    pub(crate) fn value(&self, index: usize) -> Data {
        self.arguments.get(index).cloned().unwrap_or_default()
    }

    /// All arguments.
    pub(crate) fn values(&self) -> &[Data] {
        self.arguments
    }

    /// An argument that may be missing or null.
    pub(crate) fn given(&self, index: usize) -> Option<&Data> {
        self.arguments.get(index).filter(|value| !is_null(value))
    }

    /// An argument as text. Null is an error.
    pub(crate) fn text(&self, index: usize) -> Result<String> {
        required_text(&self.value(index))
    }

    /// An optional argument as text.
    pub(crate) fn optional_text(&self, index: usize) -> Result<Option<String>> {
        self.given(index).map(to_text).transpose()
    }

    /// An argument that is a whole number.
    pub(crate) fn integer(&self, index: usize) -> Result<i64> {
        integer(&self.value(index))
            .ok_or_else(|| refuse(format!("expected a whole number, found {}", shown(&self.value(index)))))
    }

    /// An optional argument that is a whole number.
    pub(crate) fn optional_integer(&self, index: usize) -> Result<Option<i64>> {
        self.given(index).map(|_| self.integer(index)).transpose()
    }

    /// An optional argument that is a number of items, 0 or greater.
    pub(crate) fn optional_count(&self, index: usize) -> Result<Option<usize>> {
        let count = |number: i64| {
            usize::try_from(number).map_err(|_| refuse(format!("expected 0 or greater, found {number}")))
        };
        self.optional_integer(index)?.map(count).transpose()
    }
}

/// Registers the catalog, the operators and the formatter.
pub(crate) fn add_to(environment: &mut Environment<'static>, library: &Arc<Library>) {
    for entry in ENTRIES {
        let Some(body) = entry.body else { continue };
        let library = Arc::clone(library);
        environment.add_function(entry.engine_name(), move |state: &State<'_, '_>, arguments: Rest<Data>| {
            apply(entry, body, &Call { state, library: &library, arguments: &arguments })
        });
    }
    operators::add_to(environment);
    environment.set_formatter(|out, _, value| {
        let text = to_text(value)?;
        out.write_str(&text).map_err(Error::from)
    });
}

/// Calls an entry. What a filter makes of a secret is a secret too.
fn apply(entry: &Entry, body: Body, call: &Call<'_, '_, '_>) -> Result {
    if entry.role != Role::Filter {
        return body(call);
    }
    let value = call.value(0);
    if value.is_none() && !TAKE_NULL.contains(&entry.name) {
        return Ok(value);
    }
    let result = body(call)?;
    if let Some(text) = value.as_str() {
        let secrets = &call.library.secrets;
        match (result.as_str(), CUT.contains(&entry.name)) {
            (Some(result), false) => secrets.keep_derived(text, result),
            (Some(result), true) => secrets.keep_parts(text, &[result.to_owned()]),
            (None, true) => {
                let parts: Vec<String> =
                    items(&result).into_iter().flatten().map(|part| part.to_string()).collect();
                secrets.keep_parts(text, &parts);
            }
            (None, false) => {}
        }
    }
    Ok(result)
}

/// Converts a value to text: null to an empty string, lists and mappings to JSON. Undefined is an error.
pub(crate) fn to_text(value: &Data) -> Result<String> {
    match value.kind() {
        ValueKind::Undefined => Err(Error::from(ErrorKind::UndefinedError)),
        ValueKind::None => Ok(String::new()),
        ValueKind::Bool => Ok(value.is_true().to_string()),
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => formats::json_text(value),
        _ => Ok(value.to_string()),
    }
}

/// Converts a value to text. Null is an error, too.
pub(crate) fn required_text(value: &Data) -> Result<String> {
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => Err(Error::from(ErrorKind::UndefinedError)),
        _ => to_text(value),
    }
}

/// The items of a list, or the characters of a string.
pub(crate) fn items(value: &Data) -> Result<Vec<Data>> {
    match value.as_str() {
        Some(text) => Ok(text.chars().map(Data::from).collect()),
        None => Ok(value.try_iter()?.collect()),
    }
}

/// The value as a whole number, if it is one.
pub(crate) fn integer(value: &Data) -> Option<i64> {
    i64::try_from(value.clone()).ok().filter(|_| value.is_integer())
}

/// Whether the value is missing or null.
pub(crate) fn is_null(value: &Data) -> bool {
    value.is_undefined() || value.is_none()
}

/// The value in a message.
pub(crate) fn shown(value: &Data) -> String {
    format!("{value:?}")
}

/// An error of an expression.
pub(crate) fn refuse(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, text.into())
}
