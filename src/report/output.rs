//! The result on stdout, as text or as one JSON object.

use std::io::Write as _;

use serde::Serialize;

use crate::error::{Error, Kind, Result};

/// How a command prints its result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// One JSON object on one line.
    Json,
}

impl Output {
    /// Writes `result` to stdout: as JSON, or the `text` made of it.
    pub fn write<T: Serialize>(self, result: &T, text: impl FnOnce(&T) -> String) -> Result<()> {
        let failed = |cause: std::io::Error| Error::new(Kind::Io, "cannot write to stdout").because(cause);
        let line = match self {
            Self::Text => text(result),
            Self::Json => serde_json::to_string(result)
                .map_err(|cause| Error::new(Kind::Internal, "cannot write JSON").because(cause))?,
        };
        match writeln!(anstream::stdout(), "{line}") {
            // a reader that has seen enough (`taxi status | head -1`) is no failure
            Err(cause) if cause.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            result => result.map_err(failed),
        }
    }
}
