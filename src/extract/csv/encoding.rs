//! The encoding of a file's text. The server gets UTF-8.

use std::borrow::Cow;

use bytes::Bytes;

/// The encoding of the text of a CSV file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Encoding {
    /// UTF-8. Other bytes are refused.
    #[default]
    #[value(name = "utf-8")]
    Utf8,
    /// The encoding of Windows in western Europe and America. It has a character for every byte.
    #[value(name = "windows-1252")]
    Windows1252,
}

impl Encoding {
    /// Decodes bytes to UTF-8. In both encodings, commas, quotes and line ends are the same bytes, and in Windows-1252
    /// every character is one byte: the bytes can be cut anywhere.
    pub(super) fn decode(self, bytes: Bytes) -> Bytes {
        match self {
            Self::Utf8 => bytes,
            Self::Windows1252 => match encoding_rs::WINDOWS_1252.decode_without_bom_handling(&bytes) {
                (Cow::Owned(text), _) => text.into_bytes().into(),
                // only ASCII
                (Cow::Borrowed(_), _) => bytes,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_windows_1252_has_a_character() {
        let all: Vec<u8> = (0..=255).collect();
        let text = String::from_utf8(Encoding::Windows1252.decode(all.clone().into()).to_vec()).unwrap();
        assert_eq!(text.chars().count(), 256);
        assert!(!text.contains('\u{fffd}'));
        for (byte, letter) in [(0x41, 'A'), (0x80, '€'), (0xa0, '\u{a0}'), (0xe9, 'é')] {
            assert_eq!(text.chars().nth(byte), Some(letter));
        }
        let halves = all.chunks(128).map(|half| Encoding::Windows1252.decode(half.to_vec().into()));
        assert_eq!(halves.collect::<Vec<_>>().concat(), text.as_bytes());
        assert_eq!(Encoding::Utf8.decode(all.clone().into()), all);
    }
}
