//! Airflow: its KubernetesPodOperator reads the task's result from a file, even if the task failed.

use std::path::Path;

use crate::error::{Error, Result};
use crate::report::output::CommandOutput;

/// Writes the result to `return.json` in `folder`. Does nothing if the folder does not exist.
pub(crate) fn write_xcom(folder: &Path, output: &CommandOutput) -> Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    let path = folder.join("return.json");
    std::fs::write(&path, &output.json).map_err(|cause| Error::file("write", &path, cause))
}
