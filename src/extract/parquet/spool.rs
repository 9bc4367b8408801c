//! Writes a download to a temporary file that has no name: no other user can open it, and it is gone when the process
//! ends, however it ends.

use std::fs::File;

use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;

use crate::error::{Error, Kind, Result};
use crate::extract::Chunk;

/// Writes all `chunks` to a temporary file. Errors name the file by `address`.
pub(super) async fn write(mut chunks: mpsc::Receiver<Chunk>, address: &str) -> Result<File> {
    let failed = |cause: std::io::Error| {
        let folder = std::env::temp_dir();
        let text = format!("cannot write {address} to a temporary file in {}", folder.display());
        Error::new(Kind::Io, text).because(cause).hint("set TMPDIR to a directory with space for the file")
    };
    let mut file = tokio::fs::File::from_std(tempfile::tempfile().map_err(failed)?);
    while let Some(chunk) = chunks.recv().await {
        file.write_all(&chunk?).await.map_err(failed)?;
    }
    file.flush().await.map_err(failed)?;
    Ok(file.into_std().await)
}

/// Reads all `chunks`, and returns the first error among them.
pub(super) async fn read_to_end(mut chunks: mpsc::Receiver<Chunk>) -> Result<()> {
    while let Some(chunk) = chunks.recv().await {
        chunk?;
    }
    Ok(())
}
