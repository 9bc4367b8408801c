//! The figures of a load, which add up.

/// What was loaded. Rows read are staged or rejected; rows staged are inserted or matched.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Records of the file, the header not counted.
    pub rows_read: u64,
    /// Rows that the staging table took.
    pub rows_staged: u64,
    /// Rows that were new.
    pub rows_inserted: u64,
    /// Rows whose key the target held.
    pub rows_matched: u64,
    /// Rows that were left out.
    pub rows_rejected: u64,
    /// Rows staged less distinct keys among them.
    pub duplicate_keys: u64,
    /// Bytes of CSV.
    pub csv_bytes: u64,
    /// Bytes of the file as it came.
    pub downloaded_bytes: u64,
    /// Its SHA-256 in lower-case hex.
    pub sha256: String,
}
