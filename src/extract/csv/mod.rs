//! CSV: decompresses the file, checks its dialect, and parses its records.
//!
//! ```text
//! download ─► gunzip ─► dialect ─► records
//!             CRC       quotes,    cells
//!             length    line ends
//! ```

pub mod dialect;
pub mod encoding;
pub mod gunzip;
pub mod records;
