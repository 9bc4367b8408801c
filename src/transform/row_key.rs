//! The row key: `md5` over some of a row's values, as the reference SQL computes it in the server.
//!
//! In: the server's text of each key column, in key order, NULL as nothing. Out: 32 lower-case hex digits.

use md5::{Digest, Md5};

/// The length of a key's text.
pub const KEY_LENGTH: usize = 32;

/// Hashes the parts of one row's key, one after the other without a separator.
pub fn row_key<'a>(parts: impl Iterator<Item = &'a [u8]>) -> [u8; KEY_LENGTH] {
    let mut md5 = Md5::new();
    for part in parts {
        md5.update(part);
    }
    let mut key = [0; KEY_LENGTH];
    // cannot fail: the key is twice as long as the digest
    let _ = hex::encode_to_slice(md5.finalize(), &mut key);
    key
}

#[cfg(test)]
mod tests {
    #[test]
    fn hashes_the_parts_as_one_text() {
        let parts: [&[u8]; 3] = [b"ab", b"", b"c"];
        assert_eq!(&super::row_key(parts.into_iter()), b"900150983cd24fb0d6963f7d28e17f72");
    }
}
