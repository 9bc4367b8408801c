//! Decompresses the file on its own thread: this is the only stage that blocks, and it uses nearly a full core.
//!
//! In: a channel of gzip bytes: one or more members, padded with zeros; or of CSV that is not compressed. Out: a
//! channel of checked CSV bytes. Refused: other formats, input that is compressed twice, a truncated file, a wrong checksum, other bytes after the last
//! member, and CSV in an unsupported [dialect](super::dialect).

use std::io::{self, BufRead, Read};
use std::sync::{Arc, OnceLock};

use bytes::{Buf as _, Bytes};
#[expect(clippy::disallowed_types, reason = "the decoder of one member: see decompress")]
use flate2::bufread::GzDecoder;
use tokio::sync::mpsc;

use super::dialect::{BlankLines, Dialect};
use super::encoding::Encoding;
use crate::error::{Error, Kind, Result};
use crate::extract::format::{BYTE_ORDER_MARK, Format, GZIP_MAGIC, LONGEST_SIGNATURE_BYTES};
use crate::extract::{CHANNEL_DEPTH, Chunk};

const CHUNK_SIZE_BYTES: usize = 128 * 1024;

/// What a file may have that others have not.
#[derive(Clone, Copy, Debug)]
pub struct CsvForm {
    /// What to do with blank lines.
    pub blank_lines: BlankLines,
    /// The encoding of the text.
    pub encoding: Encoding,
}

impl From<BlankLines> for CsvForm {
    /// The form of a file in UTF-8.
    fn from(blank_lines: BlankLines) -> Self {
        Self { blank_lines, encoding: Encoding::Utf8 }
    }
}

/// The CSV of a file.
pub struct Csv {
    /// The checked bytes.
    pub chunks: mpsc::Receiver<Chunk>,
    /// Set before the first chunk arrives, if the file is CSV that is not compressed.
    pub(crate) is_uncompressed: Arc<OnceLock<()>>,
}

impl From<mpsc::Receiver<Chunk>> for Csv {
    /// CSV that another program has checked.
    fn from(chunks: mpsc::Receiver<Chunk>) -> Self {
        Self { chunks, is_uncompressed: Arc::default() }
    }
}

/// Starts decompressing `compressed`. Errors name the file by `address`.
pub fn start(compressed: mpsc::Receiver<Chunk>, address: String, form: impl Into<CsvForm>) -> Csv {
    let CsvForm { blank_lines, encoding } = form.into();
    let (sender, chunks) = mpsc::channel(CHANNEL_DEPTH);
    let is_uncompressed = Arc::<OnceLock<()>>::default();
    let csv = Csv { chunks, is_uncompressed: Arc::clone(&is_uncompressed) };
    tokio::task::spawn_blocking(move || {
        let mut guard = PanicGuard { sender: sender.clone(), is_done: false };
        let dialect = Dialect::new(blank_lines);
        let output =
            Output { address: &address, dialect, encoding, is_uncompressed: &is_uncompressed, sender };
        if let Err(error) = output.write_all(compressed) {
            let _ = guard.sender.blocking_send(Err(error));
        }
        guard.is_done = true;
    });
    csv
}

/// Sends an error if the thread panics. Otherwise the later stages would take the closed channel for the end of the
/// file, and load a part of it.
struct PanicGuard {
    sender: mpsc::Sender<Chunk>,
    is_done: bool,
}

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if !self.is_done {
            let error = Error::new(Kind::Internal, "the thread that decompresses the file panicked");
            let _ = self.sender.blocking_send(Err(error));
        }
    }
}

/// Checks the CSV and sends it to the next stage.
struct Output<'a> {
    address: &'a str,
    dialect: Dialect,
    encoding: Encoding,
    is_uncompressed: &'a OnceLock<()>,
    sender: mpsc::Sender<Chunk>,
}

impl Output<'_> {
    /// Writes the CSV of `file`, which is compressed or not.
    fn write_all(mut self, file: mpsc::Receiver<Chunk>) -> Result<()> {
        let mut input = ChannelReader { channel: file, chunk: Bytes::new() };
        if is_gzip(&mut input, self.address)? {
            self.write_members(input)
        } else {
            let _ = self.is_uncompressed.set(());
            if !self.write(&mut input, true)? {
                return Ok(());
            }
            if !self.dialect.ends_with_line_end() {
                let text = format!("{} is not compressed and has no line end at its end", self.address);
                return Err(Error::new(Kind::Data, text).hint("the file may be truncated: download it again"));
            }
            self.finish()
        }
    }

    /// Writes the CSV of all members. A file can consist of several, each a complete gzip stream.
    fn write_members(mut self, mut input: ChannelReader) -> Result<()> {
        let mut is_first = true;
        loop {
            #[expect(
                clippy::disallowed_types,
                reason = "this loop continues with the next member, and checks what follows"
            )]
            let mut decoder = GzDecoder::new(input);
            if !self.write(&mut decoder, std::mem::take(&mut is_first))? {
                return Ok(());
            }
            input = decoder.into_inner();
            if !has_next_member(&mut input, self.address)? {
                return self.finish();
            }
        }
    }

    /// Writes what `input` holds; it is the beginning of the file if `is_first`. Returns `false` if a later stage
    /// failed, which reports its own error.
    fn write(&mut self, input: &mut impl Read, mut is_first: bool) -> Result<bool> {
        loop {
            let mut chunk = read_chunk(input).map_err(|cause| damaged(cause, self.address))?;
            if chunk.is_empty() {
                return Ok(true);
            }
            if std::mem::take(&mut is_first) {
                check_text(&mut chunk, self.address)?;
            }
            self.dialect.check(&chunk).map_err(|error| error.in_file(self.address))?;
            if self.sender.blocking_send(Ok(self.encoding.decode(chunk))).is_err() {
                return Ok(false);
            }
        }
    }

    fn finish(self) -> Result<()> {
        self.dialect.finish().map_err(|error| error.in_file(self.address))
    }
}

/// Whether the file is compressed, by its first bytes. Refuses a file that looks like neither gzip nor CSV.
fn is_gzip(input: &mut ChannelReader, address: &str) -> Result<bool> {
    let start = input.start(LONGEST_SIGNATURE_BYTES).map_err(|cause| damaged(cause, address))?;
    if start.is_empty() {
        return Err(Error::new(Kind::Data, format!("{address} is empty")));
    }
    let error =
        |what: &str| Error::new(Kind::Data, format!("{address} is neither gzip, CSV nor Parquet{what}"));
    Err(match Format::of(start) {
        Some(Format::Gzip) => return Ok(true),
        Some(Format::Csv) => return Ok(false),
        Some(Format::Page) => error(": it looks like a web page or an XML error message").hint(
            "check whether the address needs a login, whether a proxy sent the page, and whether the file exists",
        ),
        Some(Format::Parquet) => error(": it looks like a Parquet file"),
        Some(Format::Other(name)) => error(&format!(": it looks like {name}")),
        None => error(""),
    })
}

/// Checks the first decompressed bytes, and removes a byte order mark of UTF-8.
fn check_text(chunk: &mut Bytes, address: &str) -> Result<()> {
    if chunk.starts_with(BYTE_ORDER_MARK) {
        chunk.advance(BYTE_ORDER_MARK.len());
    }
    let what = match chunk.get(..2) {
        Some(start) if start == GZIP_MAGIC => "is compressed twice: decompress it once with gunzip",
        Some([0xff, 0xfe] | [0xfe, 0xff]) => "is UTF-16 text: expected UTF-8",
        _ => return Ok(()),
    };
    Err(Error::new(Kind::Data, format!("{address} {what}")))
}

/// Whether another gzip member follows. Zeros after a member are padding, as for gunzip.
fn has_next_member(input: &mut ChannelReader, address: &str) -> Result<bool> {
    loop {
        let start = input.start(GZIP_MAGIC.len()).map_err(|cause| damaged(cause, address))?;
        match start.iter().position(|byte| *byte != 0) {
            Some(0) if start.starts_with(&GZIP_MAGIC) => return Ok(true),
            Some(0) => {
                let text = format!("{address} has bytes after the end of its gzip stream that are not gzip");
                return Err(Error::new(Kind::Data, text));
            }
            Some(zeros) => input.consume(zeros),
            None if start.is_empty() => return Ok(false),
            None => {
                let zeros = start.len();
                input.consume(zeros);
            }
        }
    }
}

fn read_chunk(decoder: &mut impl Read) -> io::Result<Bytes> {
    let mut buffer = vec![0; CHUNK_SIZE_BYTES];
    let mut filled = 0;
    while filled < buffer.len() {
        match decoder.read(&mut buffer[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    buffer.truncate(filled);
    Ok(buffer.into())
}

/// Returns the download's own error if it stopped the decoder, otherwise an error about the damaged bytes.
fn damaged(cause: io::Error, address: &str) -> Error {
    match cause.downcast::<Error>() {
        Ok(error) => error,
        Err(cause) => {
            let what = match cause.kind() {
                io::ErrorKind::UnexpectedEof => "is truncated: the gzip stream has no end",
                _ => "is damaged",
            };
            Error::new(Kind::Data, format!("{address} {what}")).because(cause)
        }
    }
}

/// Adapts the channel to the [`BufRead`] trait that the decoder needs.
struct ChannelReader {
    channel: mpsc::Receiver<Chunk>,
    chunk: Bytes,
}

impl ChannelReader {
    /// The next unread bytes, at least `count` of them unless the stream ends before.
    fn start(&mut self, count: usize) -> io::Result<&[u8]> {
        while self.chunk.len() < count {
            let Some(next) = self.channel.blocking_recv() else { break };
            self.chunk = [&self.chunk[..], &next.map_err(io::Error::other)?].concat().into();
        }
        Ok(&self.chunk)
    }
}

impl BufRead for ChannelReader {
    /// Returns the unread bytes of the current chunk, or else of the next one. Empty at the end of the stream.
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.chunk.is_empty() {
            match self.channel.blocking_recv() {
                Some(chunk) => self.chunk = chunk.map_err(io::Error::other)?,
                None => break,
            }
        }
        Ok(&self.chunk)
    }

    fn consume(&mut self, count: usize) {
        self.chunk.advance(count);
    }
}

impl Read for ChannelReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.len().min(buffer.len());
        self.chunk.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    /// Decompresses `file`, which arrives in chunks of `size` bytes.
    async fn decompressed(file: &[u8], size: usize) -> Result<Vec<u8>> {
        let (sender, receiver) = mpsc::channel(file.len() + 1);
        for chunk in file.chunks(size) {
            sender.send(Ok(Bytes::copy_from_slice(chunk))).await.unwrap();
        }
        drop(sender);
        let (mut csv, mut file) = (Vec::new(), start(receiver, "file".to_owned(), BlankLines::Refuse));
        while let Some(chunk) = file.chunks.recv().await {
            csv.extend_from_slice(&chunk?);
        }
        Ok(csv)
    }

    #[tokio::test]
    async fn members_and_padding_do_not_depend_on_the_chunks() {
        let padded = [gzip(b"a,b\n"), gzip(b""), gzip(b"1,2\n"), vec![0; 7]].concat();
        let trailing = [&padded[..], b"x"].concat();
        for size in [1, 2, 3, 1000] {
            assert_eq!(decompressed(&padded, size).await.unwrap(), b"a,b\n1,2\n", "chunks of {size}");
            assert_eq!(decompressed(b"a,b\n1,2\n", size).await.unwrap(), b"a,b\n1,2\n", "not compressed");
            let error = decompressed(&trailing, size).await.unwrap_err().to_string();
            assert!(error.contains("bytes after the end of its gzip stream"), "chunks of {size}: {error}");
        }
    }
}
