//! Decompresses a page to exactly the size that its header declares. The crate's own codecs do not stop at that size: a
//! page of a few kilobytes could fill the memory.

use std::io::{self, Read};

use flate2::bufread::MultiGzDecoder;
use parquet::basic::Compression;

/// Size of the buffer of the brotli decoder.
const BROTLI_BUFFER_BYTES: usize = 4096;

/// The codec of a column.
pub(super) enum Codec {
    None,
    Snappy,
    Gzip,
    Brotli,
    Lz4,
    Lz4Raw,
    Zstd(zstd::bulk::Decompressor<'static>),
}

impl Codec {
    /// The codec that a footer names; `None` if it is not supported.
    pub(super) fn of(compression: Compression) -> io::Result<Option<Self>> {
        Ok(Some(match compression {
            Compression::UNCOMPRESSED => Self::None,
            Compression::SNAPPY => Self::Snappy,
            Compression::GZIP(_) => Self::Gzip,
            Compression::BROTLI(_) => Self::Brotli,
            Compression::LZ4 => Self::Lz4,
            Compression::LZ4_RAW => Self::Lz4Raw,
            Compression::ZSTD(_) => Self::Zstd(zstd::bulk::Decompressor::new()?),
            Compression::LZO => return Ok(None),
        }))
    }

    /// Appends the content of `page` to `content`: exactly `size` bytes.
    pub(super) fn decompress(&mut self, page: &[u8], size: usize, content: &mut Vec<u8>) -> io::Result<()> {
        let start = content.len();
        if size == 0 {
            return Ok(());
        }
        match self {
            Self::None => content.extend_from_slice(page),
            Self::Gzip => read(MultiGzDecoder::new(page), size, content)?,
            Self::Brotli => read(brotli::Decompressor::new(page, BROTLI_BUFFER_BYTES), size, content)?,
            Self::Snappy => {
                content.resize(start + size, 0);
                let length = snap::raw::Decoder::new().decompress(page, &mut content[start..])?;
                content.truncate(start + length);
            }
            Self::Lz4Raw => {
                content.resize(start + size, 0);
                lz4(page, &mut content[start..])?;
            }
            Self::Lz4 => {
                content.resize(start + size, 0);
                // files of old writers have a block without the frames of Hadoop
                if hadoop_lz4(page, &mut content[start..]).is_none() {
                    lz4(page, &mut content[start..])?;
                }
            }
            Self::Zstd(decompressor) => {
                let mut frame = Vec::with_capacity(size);
                decompressor.decompress_to_buffer(page, &mut frame)?;
                content.extend_from_slice(&frame);
            }
        }
        match content.len() - start {
            length if length == size => Ok(()),
            length => Err(wrong_length(size, length)),
        }
    }
}

fn wrong_length(declared: usize, found: usize) -> io::Error {
    io::Error::other(format!("a page declares {declared} bytes and has {found} or more"))
}

/// Reads up to one byte more than the size, which shows a page that is too long.
fn read(decoder: impl Read, size: usize, content: &mut Vec<u8>) -> io::Result<()> {
    content.reserve(size);
    decoder.take(size as u64 + 1).read_to_end(content).map(drop)
}

fn lz4(block: &[u8], content: &mut [u8]) -> io::Result<()> {
    let length = lz4_flex::block::decompress_into(block, content).map_err(io::Error::other)?;
    if length == content.len() { Ok(()) } else { Err(wrong_length(content.len(), length)) }
}

/// Decompresses frames as Hadoop writes them: two lengths, then a block. Returns `None` if the page is not of this form.
fn hadoop_lz4(mut page: &[u8], mut content: &mut [u8]) -> Option<()> {
    while !content.is_empty() {
        let (size, rest) = page.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let [size, length] = [size, length].map(|bytes| u32::from_be_bytes(*bytes) as usize);
        let (block, rest) = rest.split_at_checked(length)?;
        let (part, remaining) = content.split_at_mut_checked(size)?;
        if size == 0 {
            return None;
        }
        lz4(block, part).ok()?;
        (page, content) = (rest, remaining);
    }
    page.is_empty().then_some(())
}
