//! The description of a file that a source gives before the first byte, and the totals of the bytes received.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::{
    CONTENT_LENGTH, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
};
use sha2::Sha256;

/// What a source announces about a file before it sends the first byte.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Description {
    /// The file's length in bytes, if announced.
    pub(crate) length_bytes: Option<u64>,
    /// The web server's `ETag`.
    pub(crate) etag: Option<String>,
    /// `Last-Modified` as the web server sent it, or the modification time of a local file.
    pub(crate) last_modified: Option<String>,
    /// The file's SHA-256 in lower-case hex, if the web server sends it (`Repr-Digest`, RFC 9530).
    pub(crate) sha256: Option<String>,
}

impl Description {
    /// Reads the description from response headers.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        Self {
            length_bytes: text(CONTENT_LENGTH).and_then(|length| length.parse().ok()),
            etag: text(ETAG).map(str::to_owned),
            last_modified: text(LAST_MODIFIED).map(str::to_owned),
            sha256: text(HeaderName::from_static("repr-digest")).and_then(sha256_of),
        }
    }

    /// Whether both describe the same file. Compares the `ETag` if both have one, otherwise length and
    /// modification time.
    pub(crate) fn is_of_same_file(&self, other: &Self) -> bool {
        // weak comparison, as for If-None-Match (RFC 9110)
        let tag = |etag: &str| etag.trim_start_matches("W/").to_owned();
        match (&self.etag, &other.etag) {
            (Some(a), Some(b)) => tag(a) == tag(b),
            _ => {
                self.last_modified.is_some()
                    && self.length_bytes.is_some()
                    && self.last_modified == other.last_modified
                    && self.length_bytes == other.length_bytes
            }
        }
    }

    /// The headers of a conditional request: the server sends the file only if it differs from this one.
    pub(crate) fn conditions(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let (name, value) = match (&self.etag, &self.last_modified) {
            (Some(etag), _) => (IF_NONE_MATCH, etag),
            (None, Some(time)) => (IF_MODIFIED_SINCE, time),
            (None, None) => return headers,
        };
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
        headers
    }
}

/// Extracts the SHA-256 from a list of digests like `sha-256=:…:`.
fn sha256_of(digests: &str) -> Option<String> {
    let digest = digests.split(',').find_map(|digest| digest.trim().strip_prefix("sha-256=:"));
    BASE64_STANDARD.decode(digest?.strip_suffix(':')?).ok().map(hex::encode)
}

/// The bytes of a file received so far, as length and digest.
#[derive(Clone, Default)]
pub(crate) struct Received {
    /// Number of bytes received.
    pub(crate) length_bytes: u64,
    /// Running SHA-256 of these bytes.
    pub(crate) sha256: Sha256,
}
