//! The figures of a load, which add up.

use serde::Serialize;

/// What was loaded. Rows read are staged or rejected; rows staged are inserted or matched.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Loaded {
    /// Records of the file, the header not counted.
    pub rows_read: u64,
    /// Rows that were compared or copied.
    pub rows_staged: u64,
    /// Rows that were new.
    pub rows_inserted: u64,
    /// Rows whose key the target held.
    pub rows_matched: u64,
    /// Rows that were left out.
    pub rows_rejected: u64,
    /// Rows of the file that were deleted first, to be replaced.
    pub rows_deleted: u64,
    /// Rows under the file's name in its own month that the target holds now.
    pub rows_in_period: u64,
    /// Rows staged less the distinct keys among them.
    pub duplicate_keys: u64,
    /// Bytes of CSV.
    #[serde(rename = "bytes_csv")]
    pub csv_bytes: u64,
    /// Bytes of the file as it came.
    #[serde(rename = "bytes_downloaded")]
    pub downloaded_bytes: u64,
    /// Its SHA-256 in lower-case hex.
    pub sha256: String,
}
