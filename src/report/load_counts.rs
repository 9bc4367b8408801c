//! The counts of a load.

use serde::Serialize;

/// The counts of a load. Every row read is staged or rejected; every staged row is inserted or matched.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct LoadCounts {
    /// Records in the file, without the header.
    pub(crate) rows_read: u64,
    /// Rows that were copied into the staging tables.
    pub(crate) rows_staged: u64,
    /// Rows that were inserted, because the target did not hold their keys.
    pub(crate) rows_inserted: u64,
    /// Rows that were not inserted, because the target already held their keys.
    pub(crate) rows_matched: u64,
    /// Rows that were rejected because they are invalid.
    pub(crate) rows_rejected: u64,
    /// Old rows of the file that were deleted because the load replaced them.
    pub(crate) rows_deleted: u64,
    /// Rows of the file's name and month that the target holds after the load.
    pub(crate) rows_in_period: u64,
    /// Staged rows minus the distinct keys among them.
    pub(crate) duplicate_keys: u64,
    /// Bytes of uncompressed CSV; 0 for Parquet.
    #[serde(rename = "bytes_csv")]
    pub(crate) csv_bytes: u64,
    /// Bytes of the file as downloaded.
    #[serde(rename = "bytes_downloaded")]
    pub(crate) downloaded_bytes: u64,
    /// The SHA-256 of the file as downloaded, in lower-case hex.
    pub(crate) sha256: String,
}
