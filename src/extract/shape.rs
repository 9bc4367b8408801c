//! The columns of a file, read without its data: the footer of a Parquet file, or the header of a CSV.
//!
//! In: a file at a source. Out: its columns, and how many bytes it took to know them. A web server is asked for parts
//! of the file: first for its end or its beginning, by what the name says. Refused: a server that sends whole files only.

use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use csv_async::{AsyncReaderBuilder, ByteRecord};
use reqwest::header::{CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, StatusCode};
use serde::Serialize;

use super::format::{BYTE_ORDER_MARK, Format, PARQUET_MAGIC};
use super::parquet::footer;
use super::source::Source;
use super::transfer::{Requests, RetryPolicy};
use crate::error::{Error, Kind, Result};
use crate::http::{self, SourceUrl};
use crate::report::Report;

/// How much of the end of a file is read first. The footers of the agency have 10 KB.
const END_BYTES: u64 = 64 * 1024;
/// How much of the beginning of a file is read to find its header.
const START_BYTES: u64 = 16 * 1024;

/// A column of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ShapeColumn {
    /// The name as the file spells it.
    pub(crate) name: String,
    /// The type; the columns of a CSV have none.
    #[serde(rename = "type")]
    pub(crate) column_type: Option<String>,
}

/// What a file declares about its rows.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Shape {
    /// `parquet` or `csv`.
    pub(crate) format: &'static str,
    /// Number of rows, if the file says it.
    pub(crate) rows: Option<u64>,
    /// The columns, in the order of the file.
    pub(crate) columns: Vec<ShapeColumn>,
    /// Number of bytes that were read.
    pub(crate) bytes_read: u64,
}

/// A part of a file.
struct Part {
    bytes: Bytes,
    /// Where the part begins.
    start: u64,
    /// Length of the file, if known.
    length: Option<u64>,
}

/// Reads parts of a file.
struct Parts<'a> {
    source: &'a Source,
    retry_policy: RetryPolicy,
    report: &'a Arc<dyn Report>,
    bytes_read: u64,
}

impl Source {
    /// Reads the columns of the file, and as little else as possible.
    pub(crate) async fn shape(&self, retry_policy: RetryPolicy, report: &Arc<dyn Report>) -> Result<Shape> {
        let mut parts = Parts { source: self, retry_policy, report, bytes_read: 0 };
        let address = self.address();
        let may_be_parquet = address.split(['?', '#']).next().is_some_and(|path| path.ends_with(".parquet"));
        if may_be_parquet {
            let end = parts.read(None).await?;
            if end.bytes.ends_with(&PARQUET_MAGIC) {
                return parts.of_parquet(end, &address).await;
            }
        }
        let start = parts.read(Some(0..START_BYTES)).await?;
        match Format::of(&start.bytes) {
            Some(Format::Parquet) if !may_be_parquet => {
                let end = parts.read(None).await?;
                parts.of_parquet(end, &address).await
            }
            Some(Format::Parquet) => {
                Err(Error::new(Kind::Data, format!("{address} does not end as a Parquet file"))
                    .hint("the file may be truncated"))
            }
            Some(Format::Gzip | Format::Csv) => of_csv(&start.bytes, &address, parts.bytes_read).await,
            other => {
                let what =
                    other.map_or_else(String::new, |format| format!(": it looks like {}", format.words()));
                Err(Error::new(Kind::Data, format!("{address} is neither Parquet nor CSV{what}")))
            }
        }
    }
}

impl Parts<'_> {
    /// Reads a part of the file; `None` is its end.
    async fn read(&mut self, range: Option<std::ops::Range<u64>>) -> Result<Part> {
        let part = match self.source {
            Source::File(_) => self.read_local(range).await?,
            Source::Http(address) => self.request(address, range).await?,
        };
        self.bytes_read += part.bytes.len() as u64;
        Ok(part)
    }

    async fn read_local(&self, range: Option<std::ops::Range<u64>>) -> Result<Part> {
        let address = self.source.address();
        let failed = |cause| Error::new(Kind::Io, format!("cannot read {address}")).because(cause);
        let body = self.source.open(self.retry_policy, self.report).await?;
        let missing = || Error::new(Kind::Internal, "a local source has no file");
        let file = body.local_file().await?.ok_or_else(missing)?;
        let length = file.metadata().map_err(failed)?.len();
        let range = range.unwrap_or(length.saturating_sub(END_BYTES)..length);
        let end = range.end.min(length);
        let mut bytes = vec![0; usize::try_from(end.saturating_sub(range.start)).unwrap_or_default()];
        file.read_exact_at(&mut bytes, range.start).map_err(failed)?;
        Ok(Part { bytes: bytes.into(), start: range.start, length: Some(length) })
    }

    async fn request(&self, address: &SourceUrl, range: Option<std::ops::Range<u64>>) -> Result<Part> {
        let value = match &range {
            None => format!("bytes=-{END_BYTES}"),
            Some(range) => format!("bytes={}-{}", range.start, range.end - 1),
        };
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_str(&value);
        headers.insert(
            RANGE,
            value.map_err(|cause| Error::new(Kind::Internal, "the range is no header").because(cause))?,
        );
        let mut response =
            Requests::new(address, self.retry_policy, self.report).ask(Method::GET, headers).await?;
        let is_part = response.status() == StatusCode::PARTIAL_CONTENT;
        if !is_part {
            response = http::accept(address, response).await?;
        }
        let content_range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
        let (start, length) = match content_range.and_then(parse_content_range).filter(|_| is_part) {
            Some((start, length)) => (start, length),
            None => (0, response.content_length()),
        };
        let wanted = match (is_part, &range) {
            (true, _) => u64::MAX,
            (false, Some(range)) if range.start == 0 => range.end,
            // a file that is not longer than its end
            (false, None) if length.is_some_and(|length| length <= END_BYTES) => u64::MAX,
            (false, _) => {
                let text = format!("{address} sends whole files, and not the parts that a report needs");
                return Err(Error::new(Kind::Configuration, text)
                    .hint("download the files, and name their directory with --source"));
            }
        };
        let mut bytes = Vec::new();
        let limit = END_BYTES.max(range.map_or(0, |range| range.end - range.start));
        while (bytes.len() as u64) < wanted.min(limit)
            && let Some(chunk) = http::chunk(&mut response, address, self.retry_policy.idle_timeout).await?
        {
            bytes.extend_from_slice(&chunk);
        }
        Ok(Part { bytes: bytes.into(), start, length })
    }

    /// The shape of a Parquet file with this `end`. If the footer begins before it, the footer is read as a whole.
    async fn of_parquet(&mut self, end: Part, address: &str) -> Result<Shape> {
        let length = end.length.unwrap_or(end.start + end.bytes.len() as u64);
        let last = end.bytes.len().saturating_sub(footer::END_BYTES);
        let range = footer::range(&end.bytes.slice(last..), length, address)?;
        let bytes = match range.start.checked_sub(end.start) {
            Some(skipped) => {
                let (skipped, to) = (skipped as usize, (range.end - end.start) as usize);
                end.bytes.slice(skipped.min(to)..to.min(end.bytes.len()))
            }
            None => self.read(Some(range.clone())).await?.bytes,
        };
        let footer = footer::decode(bytes, range.start, address)?;
        let column = |(name, column_type)| ShapeColumn { name, column_type: Some(column_type) };
        Ok(Shape {
            format: "parquet",
            rows: Some(footer.row_count()),
            columns: footer.typed_columns().into_iter().map(column).collect(),
            bytes_read: self.bytes_read,
        })
    }
}

/// The position and the length of the file in a header such as `bytes 100-199/1000`.
fn parse_content_range(header: &str) -> Option<(u64, Option<u64>)> {
    let (range, length) = header.strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, length.parse().ok()))
}

/// The shape of a CSV file that begins with `start`, compressed or not.
async fn of_csv(start: &[u8], address: &str, bytes_read: u64) -> Result<Shape> {
    let mut text = Vec::new();
    match Format::of(start) {
        Some(Format::Gzip) => {
            let mut decoder = flate2::read::MultiGzDecoder::new(start);
            let mut piece = vec![0; START_BYTES as usize];
            // the bytes are cut anywhere: what comes before the cut is enough
            while !text.contains(&b'\n') {
                match decoder.read(&mut piece) {
                    Ok(read @ 1..) => text.extend_from_slice(&piece[..read]),
                    Ok(0) | Err(_) => break,
                }
            }
        }
        _ => text.extend_from_slice(start),
    }
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&text);
    let Some(end) = memchr::memchr(b'\n', text) else {
        return Err(Error::new(
            Kind::Data,
            format!("{address} has no header in its first {START_BYTES} bytes"),
        ));
    };
    let mut reader = AsyncReaderBuilder::new().has_headers(false).create_reader(&text[..end]);
    let mut header = ByteRecord::new();
    let read = reader.read_byte_record(&mut header).await;
    read.map_err(|cause| Error::new(Kind::Data, format!("{address} is not valid CSV")).because(cause))?;
    let column = |cell: &[u8]| ShapeColumn {
        name: String::from_utf8_lossy(cell.trim_ascii()).into_owned(),
        column_type: None,
    };
    Ok(Shape { format: "csv", rows: None, columns: header.iter().map(column).collect(), bytes_read })
}
