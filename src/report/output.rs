//! The result of a command, and how it is printed.

use std::io::Write as _;

use serde::Serialize;

use super::failure::Failure;
use super::summary::{FileSummary, Outcome};
use crate::error::{Error, Kind, Result};

/// Format of a command's result on stdout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object on one line, also on failure.
    Json,
    /// Lines that Kestra reads as outputs, metrics and log messages.
    Kestra,
}

/// The result of a command.
pub struct CommandOutput {
    /// The result as one JSON object.
    pub json: String,
    /// The result as text for people; empty if the error describes the result.
    pub(crate) text: String,
    /// The error, if the command failed.
    pub(crate) error: Option<Error>,
    /// The result for each file of the command.
    pub(crate) files: Vec<FileSummary>,
}

impl CommandOutput {
    /// A result without an error.
    pub(crate) fn new<T: Serialize>(result: &T, text: impl FnOnce(&T) -> String) -> Result<Self> {
        let json = serde_json::to_string(result)
            .map_err(|cause| Error::new(Kind::Internal, "cannot write JSON").because(cause))?;
        Ok(Self { json, text: text(result), error: None, files: Vec::new() })
    }

    /// A text that is the same in every format.
    pub(crate) fn of_text(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text).trim_end().to_owned();
        Self { json: String::new(), text, error: None, files: Vec::new() }
    }

    /// An error without a result.
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

    /// The same result with this `error`.
    #[must_use]
    pub(crate) fn with_error(mut self, error: Option<Error>) -> Self {
        self.error = error;
        self
    }

    /// The same result with the results for these files.
    #[must_use]
    pub(crate) fn with_files(mut self, files: Vec<FileSummary>) -> Self {
        self.files = files;
        self
    }

    /// Whether the command had files, but did not have to load any of them.
    pub(crate) fn is_nothing_done(&self) -> bool {
        self.error.is_none()
            && !self.files.is_empty()
            && self.files.iter().all(|file| file.status != Outcome::Loaded)
    }
}

/// Writes a line to stdout.
pub fn write_line(line: &str) -> Result<()> {
    match writeln!(anstream::stdout(), "{line}") {
        // a reader that closes the pipe early (`taxi status | head -1`) is not an error
        Err(cause) if cause.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|cause| Error::new(Kind::Io, "cannot write to stdout").because(cause)),
    }
}
