//! Parses CSV into records: first the header, then one record after another, each with its line number.
//!
//! In: checked CSV bytes. Out: cells. This stage does not check the width of a record: a record that is too short
//! is an error of that row, with its line.
//!
//! Nearly every record is a line without quotes, of which only the commas have to be found: this takes a quarter of the
//! parser's time. The parser reads the other records.

use std::sync::{Arc, OnceLock};

use bytes::{Buf as _, Bytes};
use csv_core::ReadRecordResult;
use memchr::{memchr_iter, memchr2};
use tokio::sync::mpsc;

use super::gunzip::Csv;
use crate::error::{Error, Kind, Result};
use crate::extract::Chunk;
use crate::extract::rows::{Cell, FileColumn, Place, Row, Rows};

/// The maximum number of columns of a table in PostgreSQL.
const COLUMNS_LIMIT: usize = 1600;

/// Reads records from a channel of CSV bytes.
pub struct Records {
    chunks: mpsc::Receiver<Chunk>,
    /// The unread bytes of the last chunk.
    chunk: Bytes,
    parser: csv_core::Reader,
    record: Record,
    /// Number of bytes read.
    bytes: u64,
    /// Number of line feeds read.
    line_feeds: u64,
    /// The line on which the last record begins.
    line: u64,
    address: String,
    is_uncompressed: Arc<OnceLock<()>>,
}

/// The cells of a record.
#[derive(Clone, Debug, Default)]
pub struct Record {
    bytes: Vec<u8>,
    /// The end of each cell in `bytes`.
    ends: Vec<usize>,
    /// Number of bytes between two cells.
    gap: usize,
}

impl Row for Record {
    fn width(&self) -> usize {
        self.ends.len()
    }

    /// The cell as text. An empty cell is NULL.
    #[inline]
    fn cell(&self, position: usize) -> Cell<'_> {
        match self.text(position) {
            [] => Cell::Null,
            text => Cell::Text(text),
        }
    }
}

impl<T: AsRef<[u8]>> FromIterator<T> for Record {
    fn from_iter<I: IntoIterator<Item = T>>(cells: I) -> Self {
        let mut record = Self::default();
        for cell in cells {
            record.bytes.extend_from_slice(cell.as_ref());
            record.ends.push(record.bytes.len());
        }
        record
    }
}

impl Record {
    /// The text of a cell.
    #[inline]
    fn text(&self, position: usize) -> &[u8] {
        let start = if position == 0 { 0 } else { self.ends[position - 1] + self.gap };
        &self.bytes[start..self.ends[position]]
    }

    /// Sets the cells to those of a line without quotes.
    fn split(&mut self, line: &[u8]) {
        self.clear(1);
        self.bytes.extend_from_slice(line);
        let (words, rest) = line.as_chunks();
        for (nth, word) in words.iter().enumerate() {
            let mut commas = commas(*word);
            while commas != 0 {
                self.ends.push(8 * nth + commas.trailing_zeros() as usize / 8);
                commas &= commas - 1;
            }
        }
        let commas = rest.iter().enumerate().filter(|(_, byte)| **byte == b',');
        self.ends.extend(commas.map(|(index, _)| 8 * words.len() + index));
        self.ends.push(line.len());
    }

    fn clear(&mut self, gap: usize) {
        self.bytes.clear();
        self.ends.clear();
        self.gap = gap;
    }
}

/// Finds the commas among eight bytes, in half the time of `memchr_iter`, which suits longer cells: the highest bit of
/// each byte says whether it is one. The first byte is the lowest.
fn commas(bytes: [u8; 8]) -> u64 {
    const LOW_BITS: u64 = u64::from_ne_bytes([0x7f; 8]);
    let differences = u64::from_le_bytes(bytes) ^ u64::from_ne_bytes([b','; 8]);
    // the sum of a byte's low bits has the highest bit unless all of them are 0, and cannot carry into the next byte
    !(((differences & LOW_BITS) + LOW_BITS) | differences | LOW_BITS)
}

impl Records {
    /// Reads from `csv`. Errors name the file by `address`.
    pub fn new(csv: Csv, address: String) -> Self {
        let mut parser = csv_core::Reader::new();
        // from the first bytes that it gets, the parser removes a byte order mark: it must not be a record's
        parser.read_record(b"\n", &mut [0], &mut [0]);
        Self {
            chunks: csv.chunks,
            chunk: Bytes::new(),
            parser,
            record: Record::default(),
            bytes: 0,
            line_feeds: 0,
            line: 0,
            address,
            is_uncompressed: csv.is_uncompressed,
        }
    }

    /// Reads the header. Refuses a file without a header, or with more columns than a table can have.
    pub async fn header(&mut self) -> Result<Vec<FileColumn>> {
        if !self.next().await? {
            return Err(Error::new(
                Kind::Data,
                format!("{} has no header: the decompressed file is empty", self.address),
            ));
        }
        let width = self.record.width();
        if width > COLUMNS_LIMIT {
            let text = format!(
                "{}, line 1: the header has {width} columns; expected at most {COLUMNS_LIMIT}",
                self.address
            );
            return Err(Error::new(Kind::Data, text));
        }
        let name =
            |position| FileColumn::new(&String::from_utf8_lossy(self.record.text(position).trim_ascii()));
        Ok((0..width).map(name).collect())
    }

    /// Reads the next record. Returns `false` at the end.
    pub async fn next(&mut self) -> Result<bool> {
        // the rest of the last line end, and blank lines
        loop {
            match self.chunk.first().copied() {
                Some(b'\r') => self.advance(1),
                Some(b'\n') => {
                    self.line_feeds += 1;
                    self.advance(1);
                }
                Some(_) => break,
                None if !self.next_chunk().await? => return Ok(false),
                None => {}
            }
        }
        self.line = self.line_feeds + 1;
        match memchr2(b'\n', b'"', &self.chunk) {
            Some(end) if self.chunk[end] == b'\n' => {
                let line = &self.chunk[..end];
                self.record.split(line.strip_suffix(b"\r").unwrap_or(line));
                self.line_feeds += 1;
                self.advance(end + 1);
                Ok(true)
            }
            _ => self.parse().await,
        }
    }

    /// Parses a record that has quotes, or goes on in the next chunk.
    async fn parse(&mut self) -> Result<bool> {
        self.record.clear(0);
        let (mut length, mut width) = (0, 0);
        loop {
            // without another chunk, the parser gets no bytes: the end of the file
            self.next_chunk().await?;
            let Record { bytes, ends, .. } = &mut self.record;
            bytes.resize(length + 1024, 0);
            ends.resize(width + 32, 0);
            let (result, read, written, ended) =
                self.parser.read_record(&self.chunk, &mut bytes[length..], &mut ends[width..]);
            (length, width) = (length + written, width + ended);
            self.line_feeds += memchr_iter(b'\n', &self.chunk[..read]).count() as u64;
            self.advance(read);
            match result {
                ReadRecordResult::InputEmpty
                | ReadRecordResult::OutputFull
                | ReadRecordResult::OutputEndsFull => {}
                ReadRecordResult::Record => {
                    self.record.bytes.truncate(length);
                    self.record.ends.truncate(width);
                    return Ok(true);
                }
                ReadRecordResult::End => return Ok(false),
            }
        }
    }

    /// Receives the next chunk, if all bytes are read. Returns `false` at the end.
    async fn next_chunk(&mut self) -> Result<bool> {
        while self.chunk.is_empty() {
            match self.chunks.recv().await {
                Some(chunk) => self.chunk = chunk?,
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    fn advance(&mut self, count: usize) {
        self.bytes += count as u64;
        self.chunk.advance(count);
    }

    /// The record that was read last.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Whether the file is not compressed.
    pub fn is_uncompressed(&self) -> bool {
        self.is_uncompressed.get().is_some()
    }
}

impl Rows for Records {
    type Row = Record;

    async fn read(&mut self) -> Result<bool> {
        self.next().await
    }

    fn row(&self) -> &Record {
        &self.record
    }

    fn position(&self) -> u64 {
        self.line
    }

    fn csv_bytes(&self) -> u64 {
        self.bytes
    }

    fn address(&self) -> &str {
        &self.address
    }

    fn place(&self) -> Place {
        Place::Line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines and cells of all records in `csv`, which arrives in chunks of `size` bytes.
    async fn records(csv: &[u8], size: usize) -> Vec<(u64, Vec<String>)> {
        let (sender, receiver) = mpsc::channel(csv.len() + 1);
        for chunk in csv.chunks(size) {
            sender.send(Ok(Bytes::copy_from_slice(chunk))).await.unwrap();
        }
        drop(sender);
        let (mut records, mut all) = (Records::new(receiver.into(), String::new()), Vec::new());
        while records.next().await.unwrap() {
            let text = |position| String::from_utf8_lossy(records.record().text(position)).into_owned();
            all.push((records.position(), (0..records.record().width()).map(text).collect()));
        }
        assert_eq!(records.csv_bytes(), csv.len() as u64);
        all
    }

    #[test]
    fn every_comma_of_a_line_ends_a_cell() {
        // bytes that differ from a comma in one bit, and in the highest
        for other in [b'x', b'-', b'.', b'(', b',' ^ 0x80, 0x00, 0xff] {
            for commas in 0..1_u32 << 10 {
                let line: Vec<u8> =
                    (0..10).map(|nth| if commas >> nth & 1 == 1 { b',' } else { other }).collect();
                let mut record = Record::default();
                record.split(&line);
                let cells: Vec<_> = (0..record.width()).map(|position| record.text(position)).collect();
                assert_eq!(cells, line.split(|byte| *byte == b',').collect::<Vec<_>>());
            }
        }
    }

    #[tokio::test]
    async fn long_and_wide_records_are_whole() {
        let cells: Vec<String> = (1..200).map(|length| "x".repeat(length)).collect();
        for quote in ["", "\""] {
            let csv = format!("{quote}{}{quote}\n1\n", cells.join(&format!("{quote},{quote}")));
            for size in [1, 1000, csv.len()] {
                let expected = vec![(1, cells.clone()), (2, vec!["1".to_owned()])];
                assert_eq!(records(csv.as_bytes(), size).await, expected, "chunks of {size}");
            }
        }
    }

    #[tokio::test]
    async fn records_and_their_lines_do_not_depend_on_the_chunks() {
        let cells = |line, cells: &str| (line, cells.split('|').map(str::to_owned).collect());
        for (csv, expected) in [
            ("a,b\n1,2\n", vec![cells(1, "a|b"), cells(2, "1|2")]),
            ("a,b\r\n1,\r\n,2\r\n", vec![cells(1, "a|b"), cells(2, "1|"), cells(3, "|2")]),
            ("a,b\n\n\n1,2", vec![cells(1, "a|b"), cells(4, "1|2")]),
            ("\r\na\r\n1\r\n\r\n2\r\n", vec![cells(2, "a"), cells(3, "1"), cells(5, "2")]),
            (
                "a,b\n\"x,\"\"y\"\"\",1\n\"two\nlines\",2\n3,\"\n\"\n4,5\n",
                vec![
                    cells(1, "a|b"),
                    cells(2, "x,\"y\"|1"),
                    cells(3, "two\nlines|2"),
                    cells(5, "3|\n"),
                    cells(7, "4|5"),
                ],
            ),
            ("a,b,c\n1\n1,2,3,4\n", vec![cells(1, "a|b|c"), cells(2, "1"), cells(3, "1|2|3|4")]),
            ("\u{feff}\n\u{feff}", vec![cells(1, "\u{feff}"), cells(2, "\u{feff}")]),
            ("", vec![]),
            ("\n", vec![]),
        ] {
            for size in 1..=csv.len().max(1) {
                assert_eq!(records(csv.as_bytes(), size).await, expected, "chunks of {size}: {csv:?}");
            }
        }
    }
}
