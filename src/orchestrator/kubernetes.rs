//! Kubernetes: the kubelet creates a file for the termination message of a pod, and shows what the pod writes
//! to it.

use std::io::Write as _;
use std::path::Path;

use crate::error::{Error, Result};
use crate::report::failure;
use crate::report::output::CommandOutput;

/// Maximum length of the message. The kubelet truncates longer messages.
const LIMIT_BYTES: usize = 4096;

/// Writes the command's result to the file at `path`. Does nothing if the file does not exist.
pub(crate) fn write_termination_message(path: &Path, output: &CommandOutput) -> Result<()> {
    if !path.is_file() {
        return Ok(());
    }
    let mut text = match &output.error {
        Some(error) => failure::text(error),
        None => output.text.clone(),
    };
    text.truncate(text.floor_char_boundary(LIMIT_BYTES));
    // do not create the file: the kubelet reads only the file that it has created
    let write =
        || std::fs::OpenOptions::new().write(true).truncate(true).open(path)?.write_all(text.as_bytes());
    write().map_err(|cause| Error::file("write", path, cause))
}
