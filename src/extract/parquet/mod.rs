//! Parquet: reads the footer, decodes the pages of the columns that a load needs, and yields rows.
//!
//! ```text
//! download ─► spool ───────► footer ─► pages ─► columns ─► rows
//!             a file whose   schema    checked  batches    cells
//!             end is known             sizes
//! ```
//!
//! The footer says where everything is, and it stands at the end of the file. A download is therefore written to a
//! temporary file first, which has no name and is gone when the load ends; a local file is read where it is. The other
//! way, requests for parts of the file, needs the whole file too: its SHA-256 is part of a load's record, and the pages
//! of one batch of rows lie all over the file. A month of 60 MB is written to the temporary file in 0.1 s, while the
//! network sends it.
//!
//! One blocking thread decodes row group after row group in batches of some thousand rows. A file can declare any size
//! for a page, a dictionary or a row group, so every size is checked against a limit and against the file's length
//! before memory is allocated for it: this takes a page reader of our own. The values of a page are decoded by the
//! `parquet` crate. A panic in it becomes an error that names the file.

mod codec;
mod columns;
pub(crate) mod footer;
mod kind;
mod pages;
pub mod rows;
mod shape;
pub(crate) mod source;
mod spool;
mod thrift;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::task::{JoinHandle, JoinSet};

use self::footer::Footer;
use self::rows::ParquetRows;
use self::source::ReadAt;
use crate::error::Result;
use crate::extract::download::{self, Downloaded};
use crate::extract::rows::FileColumn;
use crate::extract::source::Body;

/// A Parquet file whose footer is read.
pub(crate) struct ParquetFile {
    source: Arc<dyn ReadAt>,
    footer: Footer,
    address: String,
    /// The task that reads a local file for its digest.
    check: JoinSet<Result<()>>,
}

/// Opens the file in `body`: downloads it, unless it is a local file, and reads its footer. The returned task ends when
/// the whole file is received and its digest is known.
pub(crate) async fn open(
    body: Body,
    progress_bytes: Arc<AtomicU64>,
) -> Result<(ParquetFile, JoinHandle<Downloaded>)> {
    let address = body.address.clone();
    let local = body.local_file().await?;
    let (download, chunks) = download::start(body, progress_bytes);
    let mut check = JoinSet::new();
    let source: Arc<dyn ReadAt> = match local {
        Some(file) => {
            check.spawn(spool::read_to_end(chunks));
            Arc::new(file)
        }
        None => Arc::new(spool::write(chunks, &address).await?),
    };
    let footer = footer::read(&source, &address).await?;
    Ok((ParquetFile { source, footer, address, check }, download))
}

impl ParquetFile {
    /// The columns of the file.
    pub(crate) fn columns(&self) -> Vec<FileColumn> {
        self.footer.file_columns()
    }

    /// Starts to decode the columns at these positions. The other cells of the rows are NULL.
    pub(crate) fn rows(self, positions: &[usize]) -> Result<ParquetRows> {
        ParquetRows::start(self.source, self.footer, self.address, positions, self.check)
    }
}
