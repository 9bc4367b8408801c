//! What a command ends with, and how it is printed.

use std::io::Write as _;

use serde::Serialize;

use super::failure::Failure;
use super::summary::{Outcome, Summary};
use crate::error::{Error, Kind, Result};

/// How a command prints its result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// One JSON object on one line, also on failure.
    Json,
    /// Lines that Kestra reads as outputs, metrics and logs.
    Kestra,
}

/// What a command ends with.
pub struct End {
    /// The result as one JSON object.
    pub json: String,
    /// The result for people; empty where the error says it all.
    pub text: String,
    /// What went wrong.
    pub error: Option<Error>,
    /// What was loaded, or was not, file by file.
    pub files: Vec<Summary>,
}

impl End {
    /// A result.
    pub fn new<T: Serialize>(result: &T, text: impl FnOnce(&T) -> String) -> Result<Self> {
        let json = serde_json::to_string(result)
            .map_err(|cause| Error::new(Kind::Internal, "cannot write JSON").because(cause))?;
        Ok(Self { json, text: text(result), error: None, files: Vec::new() })
    }

    /// No result, but an error.
    pub fn failed(error: Error) -> Self {
        #[derive(Serialize)]
        struct Failed {
            status: Outcome,
            error: Failure,
        }
        let failed = Failed { status: Outcome::of(&error), error: Failure::of(&error) };
        let json = serde_json::to_string(&failed).unwrap_or_default();
        Self { json, text: String::new(), error: Some(error), files: Vec::new() }
    }

    /// The same with the `error` that it has come to.
    #[must_use]
    pub fn with_error(mut self, error: Option<Error>) -> Self {
        self.error = error;
        self
    }

    /// The same about the loading of these files.
    #[must_use]
    pub fn with_files(mut self, files: Vec<Summary>) -> Self {
        self.files = files;
        self
    }

    /// Whether files were to be loaded, and none needed to be.
    pub fn is_nothing_done(&self) -> bool {
        self.error.is_none()
            && !self.files.is_empty()
            && self.files.iter().all(|file| file.status != Outcome::Loaded)
    }
}

/// Writes a line to stdout.
pub fn write_line(line: &str) -> Result<()> {
    match writeln!(anstream::stdout(), "{line}") {
        // a reader that has seen enough (`taxi status | head -1`) is no failure
        Err(cause) if cause.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|cause| Error::new(Kind::Io, "cannot write to stdout").because(cause)),
    }
}
