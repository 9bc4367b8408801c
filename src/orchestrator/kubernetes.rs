//! Kubernetes: shows a pod's last words where they are written to a file that it provides.

use std::io::Write as _;
use std::path::Path;

use crate::error::{Error, Result};
use crate::report::failure;
use crate::report::output::End;

/// The kubelet cuts off what is longer.
const LIMIT_BYTES: usize = 4096;

/// Writes what the command came to into the file at `path`, where there is one.
pub fn write_termination_message(path: &Path, end: &End) -> Result<()> {
    if !path.is_file() {
        return Ok(());
    }
    let mut text = match &end.error {
        Some(error) => failure::text(error),
        None => end.text.clone(),
    };
    text.truncate(text.floor_char_boundary(LIMIT_BYTES));
    // not created: only the kubelet's file is looked at
    let write =
        || std::fs::OpenOptions::new().write(true).truncate(true).open(path)?.write_all(text.as_bytes());
    write().map_err(|cause| Error::file("write", path, cause))
}
