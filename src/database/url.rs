//! The URL of a database, which may hold a password.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// The URL of a database, or a `key=value` string. It may hold a password, so `Debug` does not print it.
#[derive(Clone)]
pub(crate) struct DatabaseUrl(String);

impl DatabaseUrl {
    /// A URL as the user gave it.
    pub(crate) fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The whole URL, with its password.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// Serializes the whole URL, with its password: part of the result of `taxi up`.
    pub(crate) fn serialize_exposed<S: Serializer>(
        url: &Option<Self>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        url.as_ref().map(Self::expose).serialize(serializer)
    }
}

impl FromStr for DatabaseUrl {
    type Err = Infallible;

    fn from_str(url: &str) -> Result<Self, Infallible> {
        Ok(Self::new(url))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseUrl(…)")
    }
}
