//! The format of a file, as its first bytes show it. The name of the file decides nothing: a republished file may have
//! another format than its name says.

/// The first bytes of a gzip member.
pub(crate) const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// The first and the last bytes of a Parquet file.
pub(crate) const PARQUET_MAGIC: [u8; 4] = *b"PAR1";
/// Enough to recognize a format, or text.
pub(crate) const LONGEST_SIGNATURE_BYTES: usize = 64;
/// The byte order mark of UTF-8.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// The first bytes of formats that are published in place of a file that loads support.
const SIGNATURES: [(&[u8], &str); 8] = [
    (b"PK\x03\x04", "a zip archive"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ\0", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"version https://git-lfs", "a Git LFS pointer, which 'git lfs pull' replaces with the file"),
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
];

/// What a file looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Compressed with gzip.
    Gzip,
    /// Parquet.
    Parquet,
    /// CSV that is not compressed.
    Csv,
    /// A web page, or an XML error message.
    Page,
    /// Another known format.
    Other(&'static str),
}

impl Format {
    /// The format in words, with an article.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Gzip => "a gzip file",
            Self::Parquet => "a Parquet file",
            Self::Csv => "CSV",
            Self::Page => "a web page or an XML error message",
            Self::Other(name) => name,
        }
    }

    /// Recognizes the format by the first bytes of a file, [`LONGEST_SIGNATURE_BYTES`] of them unless the file is
    /// shorter.
    pub(crate) fn of(start: &[u8]) -> Option<Self> {
        if start.starts_with(&GZIP_MAGIC) {
            return Some(Self::Gzip);
        }
        if start.starts_with(&PARQUET_MAGIC) {
            return Some(Self::Parquet);
        }
        if let Some((_, name)) = SIGNATURES.iter().find(|(signature, _)| start.starts_with(signature)) {
            return Some(Self::Other(name));
        }
        let text = start.strip_prefix(BYTE_ORDER_MARK).unwrap_or(start).trim_ascii_start();
        match text.first()? {
            b'<' => Some(Self::Page),
            b'{' | b'[' => Some(Self::Other("JSON")),
            _ if text.is_ascii() && text.contains(&b',') => Some(Self::Csv),
            _ => None,
        }
    }
}
