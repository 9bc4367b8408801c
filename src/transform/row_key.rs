//! The row key: `md5` over some of a row's values, equal to what the reference SQL computes in the server.
//!
//! In: the server's text of each key column, in key order, with NULL as the empty string. Out: 32 lower-case hex
//! digits.

use md5::{Digest, Md5};

/// Length of a row key as text.
pub const KEY_LENGTH: usize = 32;

/// The key of one row, as a binary MD5 digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowKey(pub(crate) [u8; 16]);

impl RowKey {
    /// Hashes the parts of a key, concatenated without a separator.
    pub fn of<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut md5 = Md5::new();
        for part in parts {
            md5.update(part);
        }
        Self(md5.finalize().into())
    }

    /// The key as the column stores it: lower-case hex.
    pub fn text(self) -> [u8; KEY_LENGTH] {
        let mut text = [0; KEY_LENGTH];
        // cannot fail: the text is twice as long as the digest
        let _ = hex::encode_to_slice(self.0, &mut text);
        text
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn hashes_the_parts_as_one_text() {
        let parts: [&[u8]; 3] = [b"ab", b"", b"c"];
        assert_eq!(&super::RowKey::of(parts.into_iter()).text(), b"900150983cd24fb0d6963f7d28e17f72");
    }
}
