//! Reads a file from a source, in bounded memory, and yields its rows:
//!
//! ```text
//!                                ┌─► csv:     gunzip ─► dialect ─► records ─┐
//! source ─► transfer ─► download ┤                                          ├─► rows of typed cells
//!           retries,    sha256   └─► parquet: spool ─► footer ─► pages ─────┘
//!           resumption  length
//! ```
//!
//! The [format](mod@format) of the file is what its first bytes say. [`rows`] is the interface that both formats have.
//!
//! The stages are connected by bounded channels. An error travels down the same channels as the bytes, so the last
//! stage receives the first failure and not one of its consequences.

pub mod csv;
pub(crate) mod description;
pub(crate) mod download;
pub(crate) mod format;
pub mod parquet;
pub mod rows;
pub(crate) mod shape;
pub(crate) mod source;
pub(crate) mod transfer;

use bytes::Bytes;

use crate::error::Error;

/// What one stage sends to the next: bytes, or the error that ended the stream.
type Chunk = Result<Bytes, Error>;

/// Number of chunks that can queue between two stages. With chunks of up to 256 KiB, this bounds the data in
/// flight to a few MiB. Deeper channels were not faster.
const CHANNEL_DEPTH: usize = 4;
