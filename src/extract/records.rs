//! Parses CSV: first the header, then one record after another, each with its line number.
//!
//! In: checked CSV bytes. Out: cells. This stage does not check the width of a record: a record that is too short
//! is an error of that row, with its line.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use csv_async::{AsyncReader, AsyncReaderBuilder, ByteRecord, Position};
use futures_util::stream::{Stream, StreamExt as _, unfold};
use tokio_util::io::StreamReader;

use super::dialect::LineEnd;
use super::gunzip::{Csv, Facts};
use crate::error::{Error, Kind, Result};

/// The maximum number of columns of a table in PostgreSQL.
const COLUMNS_LIMIT: usize = 1600;

type ByteStream = std::pin::Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// Reads records from a channel of CSV bytes.
pub struct Records {
    reader: AsyncReader<StreamReader<ByteStream, Bytes>>,
    address: String,
    facts: Arc<Facts>,
}

impl Records {
    /// Reads from `csv`. Errors name the file by `address`.
    pub fn new(csv: Csv, address: String) -> Self {
        let stream =
            unfold(csv.chunks, async |mut channel| channel.recv().await.map(|chunk| (chunk, channel)));
        let stream: ByteStream = Box::pin(stream.map(|chunk| chunk.map_err(io::Error::other)));
        let reader = AsyncReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .buffer_capacity(64 * 1024)
            .create_reader(StreamReader::new(stream));
        Self { reader, address, facts: csv.facts }
    }

    /// Reads the header. Refuses a file without a header, or with more columns than a table can have.
    pub async fn header(&mut self) -> Result<ByteRecord> {
        let mut header = ByteRecord::new();
        if !self.read(&mut header).await? {
            return Err(Error::new(
                Kind::Data,
                format!("{} has no header: the decompressed file is empty", self.address),
            ));
        }
        if header.len() > COLUMNS_LIMIT {
            let text = format!(
                "{}, line 1: the header has {} columns; expected at most {COLUMNS_LIMIT}",
                self.address,
                header.len()
            );
            return Err(Error::new(Kind::Data, text));
        }
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

    /// The line on which `record` begins, counted from 1. The record is the one that was read last.
    pub fn line_of(&self, record: &ByteRecord) -> u64 {
        // The parser counts LF with the record that it ends, and the LF of CR LF with the next record. Its position
        // before a record is also before the blank lines that it skips.
        let (start, next) = (record.position().map_or(0, Position::line), self.reader.position().line());
        let is_counted = self.facts.line_end() == Some(LineEnd::Lf);
        let line = next - u64::from(is_counted);
        // all but a few records take one line, and then have no line breaks to count
        let breaks = match next - start {
            0 | 1 => 0,
            _ => memchr::memchr_iter(b'\n', record.as_slice()).count() as u64,
        };
        // at the end of a file without a last line end, the parser has counted none
        (line - breaks).max(start)
    }

    /// Whether the file is not compressed.
    pub fn is_uncompressed(&self) -> bool {
        self.facts.is_uncompressed()
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
