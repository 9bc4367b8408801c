//! From a source to CSV records, in one forward pass and bounded memory:
//!
//! ```text
//! source ─► transfer ───► download ─► gunzip ─► dialect ─► records
//!           retries,      sha256      CRC       quotes,    cells
//!           resumption    length                line ends
//! ```
//!
//! Each arrow is a bounded channel. A failure travels down the same channels as the bytes, so the stage at the
//! end meets the first thing that went wrong, not what came of it.

pub mod description;
pub mod dialect;
pub mod download;
pub mod gunzip;
pub mod records;
pub mod source;
pub mod transfer;

use bytes::Bytes;

use crate::error::Error;

/// What flows from stage to stage.
type Chunk = Result<Bytes, Error>;

/// Chunks that may wait between two stages. With chunks of up to 256 KiB this bounds what is in flight to a few
/// MiB; deeper channels were not faster.
const CHANNEL_DEPTH: usize = 4;
