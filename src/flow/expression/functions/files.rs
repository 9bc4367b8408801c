//! Functions on files: those that the run has stored, and those in the folder of the flow.

use std::fs;
use std::path::PathBuf;

use super::{Call, Result, refuse};

/// Maximum size of a file that an expression reads into memory.
const READ_LIMIT_BYTES: u64 = 16 * 1024 * 1024;

pub(crate) fn read(call: &Call<'_, '_, '_>) -> Result {
    let path = file(call)?;
    if length(call)? > READ_LIMIT_BYTES {
        return Err(refuse(format!(
            "the file {} is too large for read(): expected at most {READ_LIMIT_BYTES} bytes",
            path.display()
        )));
    }
    let text = fs::read_to_string(&path);
    text.map(Into::into).map_err(|cause| refuse(format!("cannot read {}: {cause}", path.display())))
}

pub(crate) fn uri(call: &Call<'_, '_, '_>) -> Result {
    let path = file(call)?;
    let path = std::path::absolute(&path).unwrap_or(path);
    Ok(path.display().to_string().into())
}

pub(crate) fn exists(call: &Call<'_, '_, '_>) -> Result {
    Ok(file(call).is_ok_and(|path| path.is_file()).into())
}

pub(crate) fn size(call: &Call<'_, '_, '_>) -> Result {
    Ok(length(call)?.into())
}

pub(crate) fn is_empty(call: &Call<'_, '_, '_>) -> Result {
    Ok((length(call)? == 0).into())
}

fn length(call: &Call<'_, '_, '_>) -> Result<u64> {
    let path = file(call)?;
    let length = fs::metadata(&path).map(|metadata| metadata.len());
    length.map_err(|cause| refuse(format!("cannot read {}: {cause}", path.display())))
}

fn file(call: &Call<'_, '_, '_>) -> Result<PathBuf> {
    call.library.file(&call.text(0)?).map_err(refuse)
}
