//! Decompresses the file on its own thread: this is the only stage that blocks, and it uses nearly a full core.
//!
//! In: a channel of gzip bytes. Out: a channel of checked CSV bytes. Refused: input that is not gzip, a truncated
//! file, a wrong checksum, trailing bytes after the last member, and CSV in an unsupported
//! [dialect](super::dialect).

use std::io::{self, Read};

use bytes::{Buf as _, Bytes};
use flate2::read::MultiGzDecoder;
use tokio::sync::mpsc;

use super::dialect::Dialect;
use super::{CHANNEL_DEPTH, Chunk};
use crate::error::{Error, Kind, Result};

const CHUNK_SIZE_BYTES: usize = 128 * 1024;
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Starts decompressing `compressed`. Errors name the file by `address`.
pub fn start(compressed: mpsc::Receiver<Chunk>, address: String) -> mpsc::Receiver<Chunk> {
    let (sender, receiver) = mpsc::channel(CHANNEL_DEPTH);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = decompress(compressed, &address, &sender) {
            let _ = sender.blocking_send(Err(error));
        }
    });
    receiver
}

fn decompress(compressed: mpsc::Receiver<Chunk>, address: &str, sender: &mpsc::Sender<Chunk>) -> Result<()> {
    let mut input = ChannelReader { channel: compressed, chunk: Bytes::new() };
    check_magic(&mut input, address)?;
    let mut decoder = MultiGzDecoder::new(input);
    let mut dialect = Dialect::default();
    loop {
        let chunk = read_chunk(&mut decoder).map_err(|cause| damaged(cause, address))?;
        if chunk.is_empty() {
            return dialect.finish().map_err(|error| error.in_file(address));
        }
        dialect.check(&chunk).map_err(|error| error.in_file(address))?;
        if sender.blocking_send(Ok(chunk)).is_err() {
            return Ok(()); // a later stage failed and reports its own error
        }
    }
}

/// Checks the magic number first, so that the error can say when the file looks like a web page.
fn check_magic(input: &mut ChannelReader, address: &str) -> Result<()> {
    let mut start = input.fill().map_err(|cause| damaged(cause, address))?.to_vec();
    while (1..MAGIC.len()).contains(&start.len()) && MAGIC.starts_with(&start) {
        // the first chunk holds only one byte
        input.chunk = Bytes::new();
        let next = input.fill().map_err(|cause| damaged(cause, address))?.clone();
        if next.is_empty() {
            break;
        }
        start.extend_from_slice(&next);
        input.chunk = start.clone().into();
    }
    if start.is_empty() {
        return Err(Error::new(Kind::Data, format!("{address} is empty")));
    }
    if start.starts_with(&MAGIC) {
        return Ok(());
    }
    let text = start.trim_ascii_start();
    let error = Error::new(Kind::Data, format!("{address} is not a gzip file"));
    Err(if text.first() == Some(&b'<') {
        error.hint(
            "the file looks like a web page: check whether the address needs a login, or whether a proxy sent the page",
        )
    } else {
        error
    })
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

/// Adapts the channel to the [`Read`] trait that the decoder needs.
struct ChannelReader {
    channel: mpsc::Receiver<Chunk>,
    chunk: Bytes,
}

impl ChannelReader {
    /// Returns the unread bytes of the current chunk, or else of the next one. Empty at the end of the stream.
    fn fill(&mut self) -> io::Result<&Bytes> {
        while self.chunk.is_empty() {
            match self.channel.blocking_recv() {
                Some(chunk) => self.chunk = chunk.map_err(io::Error::other)?,
                None => break,
            }
        }
        Ok(&self.chunk)
    }
}

impl Read for ChannelReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill()?.len().min(buffer.len());
        self.chunk.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}
