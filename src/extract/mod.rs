//! Reads CSV records from a source, in one forward pass and bounded memory:
//!
//! ```text
//! source ─► transfer ───► download ─► gunzip ─► dialect ─► records
//!           retries,      sha256      CRC       quotes,    cells
//!           resumption    length                line ends
//! ```
//!
//! The stages are connected by bounded channels. An error travels down the same channels as the bytes, so the last
//! stage receives the first failure and not one of its consequences.

pub(crate) mod description;
pub mod dialect;
pub(crate) mod download;
pub mod gunzip;
pub mod records;
pub(crate) mod source;
pub(crate) mod transfer;

use bytes::Bytes;

use crate::error::Error;

/// What one stage sends to the next: bytes, or the error that ended the stream.
type Chunk = Result<Bytes, Error>;

/// Number of chunks that can queue between two stages. With chunks of up to 256 KiB, this bounds the data in
/// flight to a few MiB. Deeper channels were not faster.
const CHANNEL_DEPTH: usize = 4;
