//! Kubernetes: it shows a pod's termination message, which it reads from a file that it provides.

use std::io::Write as _;
use std::path::Path;

use crate::error::{Error, Result};
use crate::report::failure;
use crate::report::output::CommandOutput;

/// The kubelet truncates longer messages.
const LIMIT_BYTES: usize = 4096;

/// Writes the command's result to the file at `path`. Does nothing if the file does not exist.
pub(crate) fn write_termination_message(path: &Path, end: &CommandOutput) -> Result<()> {
    if !path.is_file() {
        return Ok(());
    }
    let mut text = match &end.error {
        Some(error) => failure::text(error),
        None => end.text.clone(),
    };
    text.truncate(text.floor_char_boundary(LIMIT_BYTES));
    // the file is not created: the kubelet reads only its own
    let write =
        || std::fs::OpenOptions::new().write(true).truncate(true).open(path)?.write_all(text.as_bytes());
    write().map_err(|cause| Error::file("write", path, cause))
}
