//! What is known of a file before its first byte, and what was received of it.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::{
    CONTENT_LENGTH, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
};
use sha2::Sha256;

/// What a source says of a file before its first byte.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// The file's length in bytes, where it is announced.
    pub length_bytes: Option<u64>,
    /// The web server's `ETag`.
    pub etag: Option<String>,
    /// `Last-Modified` as the web server wrote it, or the file's modification time.
    pub last_modified: Option<String>,
    /// The file's SHA-256 in lower-case hex, where the web server says it (`Repr-Digest`, RFC 9530).
    pub sha256: Option<String>,
}

impl Description {
    /// What an answer's headers say.
    pub fn of(headers: &HeaderMap) -> Self {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        Self {
            length_bytes: text(CONTENT_LENGTH).and_then(|length| length.parse().ok()),
            etag: text(ETAG).map(str::to_owned),
            last_modified: text(LAST_MODIFIED).map(str::to_owned),
            sha256: text(HeaderName::from_static("repr-digest")).and_then(sha256_of),
        }
    }

    /// Whether both say that they are of the same file: by `ETag`, else by length and modification time.
    pub fn is_of_same_file(&self, other: &Self) -> bool {
        // as If-None-Match compares (RFC 9110): a weak one is as good
        let tag = |etag: &str| etag.trim_start_matches("W/").to_owned();
        match (&self.etag, &other.etag) {
            (Some(one), Some(another)) => tag(one) == tag(another),
            _ => {
                self.last_modified.is_some()
                    && self.length_bytes.is_some()
                    && self.last_modified == other.last_modified
                    && self.length_bytes == other.length_bytes
            }
        }
    }

    /// The headers that ask for the file only if it is another.
    pub fn conditions(&self) -> HeaderMap {
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

/// The SHA-256 of a list of digests, like `sha-256=:…:`.
fn sha256_of(digests: &str) -> Option<String> {
    let named = digests.split(',').find_map(|digest| digest.trim().strip_prefix("sha-256=:"));
    BASE64_STANDARD.decode(named?.strip_suffix(':')?).ok().map(hex::encode)
}

/// What was received of a file so far.
#[derive(Clone, Default)]
pub struct Received {
    /// How much it is.
    pub length_bytes: u64,
    /// Its digest.
    pub sha256: Sha256,
}
