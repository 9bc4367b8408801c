//! The types of inputs and outputs: what their values must be, and how expressions see them.

use jiff::civil::{Date, Time};
use minijinja::Value as Data;
use minijinja::value::Serde;
use regex_lite::Regex;
use serde_json::Value as Json;

use crate::flow::expression::{self, dates};
use crate::flow::yaml::decode::choices;
use crate::flow::yaml::document::Document;
use crate::flow::yaml::values::duration;

/// Kestra's pattern of an e-mail address.
const EMAIL: &str = r"^[a-zA-Z0-9_!#$%&’*+/=?`{|}~^.-]+@[a-zA-Z0-9.-]+$";

choices! {
    /// The types of input.
    pub(crate) enum InputType {
        /// Any text.
        String = "STRING",
        /// A whole number.
        Int = "INT",
        /// A number.
        Float = "FLOAT",
        /// `true` or `false`.
        Boolean = "BOOLEAN",
        /// Same as `BOOLEAN`.
        Bool = "BOOL",
        /// One of the declared `values`.
        Select = "SELECT",
        /// The older name of `SELECT`.
        Enum = "ENUM",
        /// A list of the declared `values`, as JSON.
        Multiselect = "MULTISELECT",
        /// A list of values of the `itemType`, as JSON.
        Array = "ARRAY",
        /// A date, like `2020-03-01`.
        Date = "DATE",
        /// A date and time, like `2020-03-01T09:00:00Z`.
        DateTime = "DATETIME",
        /// A time of the day, like `09:30` or `09:30:00`.
        Time = "TIME",
        /// An ISO 8601 duration, like `PT5M`.
        Duration = "DURATION",
        /// A JSON document.
        Json = "JSON",
        /// A YAML document.
        Yaml = "YAML",
        /// The path of a file. The run gets a copy of the file.
        File = "FILE",
        /// A URI, like `https://example.com/a.csv`.
        Uri = "URI",
        /// An e-mail address.
        Email = "EMAIL",
        /// A text that is masked wherever it is printed, and never stored.
        Secret = "SECRET",
    }
}

impl InputType {
    /// What a value of this type looks like, for messages. `None` if `value` is one.
    pub(crate) fn refuse(self, value: &str) -> Option<&'static str> {
        let (is_valid, expected) = match self {
            Self::String | Self::Secret | Self::Select | Self::Enum => (true, ""),
            Self::Int => (value.parse::<i64>().is_ok(), "a whole number"),
            Self::Float => (value.parse().is_ok_and(f64::is_finite), "a number"),
            Self::Boolean | Self::Bool => (matches!(value, "true" | "false"), "true or false"),
            Self::Multiselect | Self::Array => (list(value).is_some(), "a JSON array like [\"a\", \"b\"]"),
            Self::Date => {
                let is_date = value.parse::<Date>().is_ok() && value.len() == "2020-03-01".len();
                (is_date, "a date like 2020-03-01")
            }
            Self::DateTime => {
                let is_time = dates::read(value).is_ok() && value.contains('T');
                (is_time, "a date and time like 2020-03-01T09:00:00Z")
            }
            Self::Time => (value.parse::<Time>().is_ok() && value.contains(':'), "a time like 09:30:00"),
            Self::Duration => (duration(value).is_some(), "an ISO 8601 duration like PT30S, PT5M or P1D"),
            Self::Json => (serde_json::from_str::<Json>(value).is_ok(), "a JSON document"),
            Self::Yaml => (Document::parse("", value).is_ok(), "a YAML document"),
            Self::File => (!value.is_empty(), "the path of a file"),
            Self::Uri => (url::Url::parse(value).is_ok(), "a URI like https://example.com/a.csv"),
            Self::Email => {
                let is_email = Regex::new(EMAIL).is_ok_and(|pattern| pattern.is_match(value));
                (value.is_empty() || is_email, "an e-mail address")
            }
        };
        (!is_valid).then_some(expected)
    }

    /// Reads a value of this type, or returns what the type expects.
    pub(crate) fn read(self, value: &str) -> Result<Data, &'static str> {
        self.refuse(value).map_or_else(|| Ok(self.data(value, None)), Err)
    }

    /// A valid value of this type, as expressions see it.
    pub(crate) fn data(self, value: &str, item_type: Option<Self>) -> Data {
        match self {
            Self::Int => value.parse::<i64>().map_or_else(|_| value.into(), Data::from),
            Self::Float => value.parse::<f64>().map_or_else(|_| value.into(), Data::from),
            Self::Boolean | Self::Bool => Data::from(value == "true"),
            Self::Json => serde_json::from_str::<Json>(value)
                .map_or_else(|_| value.into(), |value| Data::from(Serde(&value))),
            Self::Yaml => Document::parse("", value)
                .map_or_else(|_| value.into(), |document| expression::data(&document.root)),
            Self::Array | Self::Multiselect => {
                let item = |item: &Json| match item_type {
                    Some(kind) => kind.data(&item_text(item), None),
                    None => Data::from(Serde(item)),
                };
                list(value).unwrap_or_default().iter().map(item).collect::<Vec<_>>().into()
            }
            _ => value.into(),
        }
    }
}

/// The items of a JSON array.
pub(crate) fn list(value: &str) -> Option<Vec<Json>> {
    serde_json::from_str(value).ok()
}

/// An item of a list as the text of an input.
pub(crate) fn item_text(item: &Json) -> String {
    item.as_str().map_or_else(|| item.to_string(), str::to_owned)
}
