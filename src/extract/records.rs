//! Parses CSV: first the header, then one record after another, each with its line number.
//!
//! In: checked CSV bytes. Out: cells. This stage does not check the width of a record: a record that is too short
//! is an error of that row, with its line.

use std::io;

use bytes::Bytes;
use csv_async::{AsyncReader, AsyncReaderBuilder, ByteRecord};
use futures_util::stream::{Stream, StreamExt as _, unfold};
use tokio::sync::mpsc;
use tokio_util::io::StreamReader;

use super::Chunk;
use crate::error::{Error, Kind, Result};

type ByteStream = std::pin::Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// Reads records from a channel of CSV bytes.
pub struct Records {
    reader: AsyncReader<StreamReader<ByteStream, Bytes>>,
    address: String,
    /// 1 if the parser counts a line end only when it reads on, as it does for CR LF; otherwise 0.
    line_lag: u64,
}

impl Records {
    /// Reads from `csv`. Errors name the file by `address`.
    pub fn new(csv: mpsc::Receiver<Chunk>, address: String) -> Self {
        let stream = unfold(csv, async |mut channel| channel.recv().await.map(|chunk| (chunk, channel)));
        let stream: ByteStream = Box::pin(stream.map(|chunk| chunk.map_err(io::Error::other)));
        let reader = AsyncReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .buffer_capacity(64 * 1024)
            .create_reader(StreamReader::new(stream));
        Self { reader, address, line_lag: 0 }
    }

    /// Reads the header. Refuses a file without a header.
    pub async fn header(&mut self) -> Result<ByteRecord> {
        let mut header = ByteRecord::new();
        if !self.read(&mut header).await? {
            return Err(Error::new(
                Kind::Data,
                format!("{} has no header: the decompressed file is empty", self.address),
            ));
        }
        let lines = 1 + memchr::memchr_iter(b'\n', header.as_slice()).count() as u64;
        self.line_lag = (lines + 1).saturating_sub(self.reader.position().line());
        Ok(header)
    }

    /// Reads the next record into `record`. Returns `false` at the end.
    pub async fn read(&mut self, record: &mut ByteRecord) -> Result<bool> {
        self.reader.read_byte_record(record).await.map_err(|error| match error.into_kind() {
            csv_async::ErrorKind::Io(cause) => match cause.downcast::<Error>() {
                Ok(error) => error,
                Err(cause) => Error::new(Kind::Io, format!("cannot read {}", self.address)).because(cause),
            },
            other => Error::new(Kind::Data, format!("{} is not valid CSV: {other:?}", self.address)),
        })
    }

    /// The line on which `record` begins, counted from 1.
    pub fn line_of(&self, record: &ByteRecord) -> u64 {
        record.position().map_or(0, |position| position.line() + self.line_lag)
    }

    /// Number of CSV bytes read so far.
    pub fn bytes_read(&self) -> u64 {
        self.reader.position().byte()
    }

    /// The file's address, as used in errors.
    pub fn address(&self) -> &str {
        &self.address
    }
}
