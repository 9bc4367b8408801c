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
use crate::extract::rows::{Cell, FileColumn, Place, Row, Rows};

/// The maximum number of columns of a table in PostgreSQL.
const COLUMNS_LIMIT: usize = 1600;

type ByteStream = std::pin::Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// Reads records from a channel of CSV bytes.
pub struct Records {
    reader: AsyncReader<StreamReader<ByteStream, Bytes>>,
    record: ByteRecord,
    address: String,
    facts: Arc<Facts>,
}

impl Row for ByteRecord {
    fn width(&self) -> usize {
        self.len()
    }

    /// The cell as text. An empty cell is NULL.
    #[inline]
    fn cell(&self, position: usize) -> Cell<'_> {
        match &self[position] {
            [] => Cell::Null,
            text => Cell::Text(text),
        }
    }
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
        Self { reader, record: ByteRecord::new(), address, facts: csv.facts }
    }

    /// Reads the header. Refuses a file without a header, or with more columns than a table can have.
    pub async fn header(&mut self) -> Result<Vec<FileColumn>> {
        if !self.next().await? {
            return Err(Error::new(
                Kind::Data,
                format!("{} has no header: the decompressed file is empty", self.address),
            ));
        }
        let width = self.record.len();
        if width > COLUMNS_LIMIT {
            let text = format!(
                "{}, line 1: the header has {width} columns; expected at most {COLUMNS_LIMIT}",
                self.address
            );
            return Err(Error::new(Kind::Data, text));
        }
        let name = |cell: &[u8]| FileColumn::new(&String::from_utf8_lossy(cell.trim_ascii()));
        Ok(self.record.iter().map(name).collect())
    }

    /// Reads the next record. Returns `false` at the end.
    pub async fn next(&mut self) -> Result<bool> {
        self.reader.read_byte_record(&mut self.record).await.map_err(|error| match error.into_kind() {
            csv_async::ErrorKind::Io(cause) => match cause.downcast::<Error>() {
                Ok(error) => error,
                Err(cause) => Error::new(Kind::Io, format!("cannot read {}", self.address)).because(cause),
            },
            other => Error::new(Kind::Data, format!("{} is not valid CSV: {other:?}", self.address)),
        })
    }

    /// The record that was read last.
    pub fn record(&self) -> &ByteRecord {
        &self.record
    }

    /// The line on which the record begins that was read last, counted from 1.
    fn line(&self) -> u64 {
        let record = &self.record;
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
}

impl Rows for Records {
    type Row = ByteRecord;

    async fn read(&mut self) -> Result<bool> {
        self.next().await
    }

    fn row(&self) -> &ByteRecord {
        &self.record
    }

    fn position(&self) -> u64 {
        self.line()
    }

    fn csv_bytes(&self) -> u64 {
        self.reader.position().byte()
    }

    fn address(&self) -> &str {
        &self.address
    }

    fn place(&self) -> Place {
        Place::Line
    }
}
