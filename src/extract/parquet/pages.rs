//! Reads the pages of a column in a row group. Every size that a page declares is checked before memory is allocated.
//!
//! In: a column of a row group. Out: decompressed pages, for the `parquet` crate to decode. Refused: a page that lies
//! outside of its column, that is larger than the limit, or whose content is shorter than its header says.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parquet::basic::{Encoding, Type};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::data_type::ByteArray;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ColumnChunkMetaData;

use super::codec::Codec;
use super::footer::first_page;
use super::source::ReadAt;
use super::thrift::{Fault, Reader};

/// Maximum size of a page. Nearly all programs write pages of 1 MiB.
const PAGE_LIMIT_BYTES: usize = 8 * 1024 * 1024;
/// Maximum size of all pages and dictionaries that are in memory at a time. Twenty columns with pages of 1 MiB need a third.
const OPEN_LIMIT_BYTES: usize = 64 * 1024 * 1024;
/// How many bytes are read for the header of a page; more of them if it has long statistics.
const HEADER_BYTES: [usize; 3] = [256, 16 * 1024, 1024 * 1024];

/// The memory that pages may take, shared by the columns of a row group.
#[derive(Debug)]
pub(super) struct Budget(AtomicUsize);

impl Default for Budget {
    fn default() -> Self {
        Self(AtomicUsize::new(OPEN_LIMIT_BYTES))
    }
}

/// The pages of a column in a row group.
pub(super) struct Pages {
    source: Arc<dyn ReadAt>,
    position: u64,
    end: u64,
    codec: Codec,
    physical: Type,
    /// Length of a value of fixed length.
    width: usize,
    has_levels: bool,
    has_dictionary: bool,
    budget: Arc<Budget>,
    /// What this column holds of the budget: for its dictionary, and for its current page.
    held: [usize; 2],
}

/// The header of a page.
#[derive(Debug, Default)]
struct Header {
    page_type: i64,
    uncompressed: i64,
    compressed: i64,
    values: i64,
    nulls: i64,
    rows: i64,
    encoding: i64,
    definition_encoding: i64,
    definition_bytes: i64,
    repetition_bytes: i64,
    is_uncompressed: bool,
}

const DATA: i64 = 0;
const INDEX: i64 = 1;
const DICTIONARY: i64 = 2;
const DATA_V2: i64 = 3;

impl Pages {
    pub(super) fn new(
        source: Arc<dyn ReadAt>,
        chunk: &ColumnChunkMetaData,
        budget: Arc<Budget>,
    ) -> Result<Self> {
        let descriptor = chunk.column_descr();
        let codec = Codec::of(chunk.compression())?.ok_or_else(|| {
            ParquetError::NYI(format!("the compression {} is not supported", chunk.compression()))
        })?;
        let start = first_page(chunk).unsigned_abs();
        Ok(Self {
            source,
            position: start,
            end: start.saturating_add(chunk.compressed_size().unsigned_abs()),
            codec,
            physical: descriptor.physical_type(),
            width: usize::try_from(descriptor.type_length()).unwrap_or_default(),
            has_levels: descriptor.max_def_level() > 0,
            has_dictionary: false,
            budget,
            held: [0; 2],
        })
    }

    /// Reads the header of the next page.
    fn header(&mut self) -> Result<Header> {
        let remaining = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        for window in HEADER_BYTES {
            let bytes = self.source.read_at(self.position, window.min(remaining))?;
            let mut reader = Reader::new(&bytes);
            match Header::read(&mut reader) {
                Ok(header) => {
                    self.position += reader.position() as u64;
                    return Ok(header);
                }
                Err(Fault::Ends) if window < remaining => {}
                Err(_) => break,
            }
        }
        Err(invalid("the header of a page is damaged"))
    }

    /// Reads the content of a page and decompresses it.
    fn content(&mut self, header: &Header) -> Result<Bytes> {
        let size = |declared: i64| usize::try_from(declared).ok().filter(|size| *size <= PAGE_LIMIT_BYTES);
        let (Some(compressed), Some(uncompressed)) = (size(header.compressed), size(header.uncompressed))
        else {
            return Err(invalid(format!(
                "a page has {} bytes, {} of them after decompression; expected at most 8 MiB",
                header.compressed, header.uncompressed
            )));
        };
        if compressed as u64 > self.end - self.position {
            return Err(invalid("a page is longer than its column"));
        }
        self.hold(usize::from(header.page_type != DICTIONARY), uncompressed)?;
        let page = self.source.read_at(self.position, compressed)?;
        self.position += compressed as u64;
        // the levels of a page of the second version are not compressed
        let levels = match header.page_type {
            DATA_V2 => header.levels().filter(|levels| *levels <= compressed.min(uncompressed)),
            _ => Some(0),
        };
        let levels = levels.ok_or_else(|| invalid("the levels of a page are longer than the page"))?;
        if header.is_uncompressed || matches!(self.codec, Codec::None) {
            return match page.len() == uncompressed {
                true => Ok(page),
                false => Err(invalid("a page is not as long as its header says")),
            };
        }
        let mut content = Vec::with_capacity(uncompressed);
        content.extend_from_slice(&page[..levels]);
        self.codec.decompress(&page[levels..], uncompressed - levels, &mut content)?;
        Ok(content.into())
    }

    /// Exchanges what the column holds of the budget, for its dictionary or for its page.
    fn hold(&mut self, which: usize, bytes: usize) -> Result<()> {
        self.budget.0.fetch_add(std::mem::replace(&mut self.held[which], 0), Ordering::Relaxed);
        let taken =
            self.budget.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes));
        if taken.is_err() {
            return Err(invalid("the pages of one batch of rows take more than 64 MiB"));
        }
        self.held[which] = bytes;
        Ok(())
    }

    fn dictionary(&mut self, header: &Header, content: Bytes) -> Result<Page> {
        let width = match self.physical {
            Type::INT32 | Type::FLOAT | Type::BYTE_ARRAY => 4,
            Type::INT64 | Type::DOUBLE => 8,
            Type::INT96 => 12,
            Type::FIXED_LEN_BYTE_ARRAY => self.width.max(1),
            Type::BOOLEAN => return Err(invalid("a column of truth values has a dictionary")),
        };
        let values = u32::try_from(header.values).ok();
        let Some(values) = values.filter(|values| *values as usize <= content.len() / width) else {
            return Err(invalid(format!(
                "a dictionary of {} bytes declares {} values",
                content.len(),
                header.values
            )));
        };
        let decoded = match self.physical {
            Type::BYTE_ARRAY | Type::FIXED_LEN_BYTE_ARRAY => size_of::<ByteArray>(),
            _ => width,
        };
        self.hold(0, content.len() + values as usize * decoded)?;
        self.has_dictionary = true;
        Ok(Page::DictionaryPage {
            buf: content,
            num_values: values,
            encoding: encoding(header.encoding)?,
            is_sorted: false,
        })
    }

    fn data(&self, header: &Header, content: Bytes) -> Result<Page> {
        let count = |declared: i64| {
            u32::try_from(declared).map_err(|_| invalid(format!("a page declares {declared} values")))
        };
        let (values, encoding) = (count(header.values)?, encoding(header.encoding)?);
        let is_of_dictionary = matches!(encoding, Encoding::PLAIN_DICTIONARY | Encoding::RLE_DICTIONARY);
        if is_of_dictionary && !self.has_dictionary {
            return Err(invalid("a page needs a dictionary that the column does not have"));
        }
        let levels = match header.page_type {
            DATA_V2 => header.levels().unwrap_or_default(),
            // the levels of a page of the first version have their length before them
            _ if self.has_levels => {
                let length = content.first_chunk::<4>().map(|length| u32::from_le_bytes(*length) as usize);
                length.map_or(usize::MAX, |length| length.saturating_add(4))
            }
            _ => 0,
        };
        check_lengths(encoding, content.get(levels..).unwrap_or_default(), values)?;
        if header.page_type == DATA_V2 {
            return Ok(Page::DataPageV2 {
                buf: content,
                num_values: values,
                encoding,
                num_nulls: count(header.nulls)?,
                num_rows: count(header.rows)?,
                def_levels_byte_len: count(header.definition_bytes)?,
                rep_levels_byte_len: count(header.repetition_bytes)?,
                is_compressed: !header.is_uncompressed,
                statistics: None,
            });
        }
        Ok(Page::DataPage {
            buf: content,
            num_values: values,
            encoding,
            def_level_encoding: self::encoding(header.definition_encoding)?,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        })
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.budget.0.fetch_add(self.held.iter().sum(), Ordering::Relaxed);
    }
}

impl Header {
    fn read(reader: &mut Reader<'_>) -> std::result::Result<Self, Fault> {
        let mut header = Self::default();
        reader.fields(|reader, field| {
            match field.id {
                1..=3 if field.is_integer() => {
                    let value = reader.integer()?;
                    match field.id {
                        1 => header.page_type = value,
                        2 => header.uncompressed = value,
                        _ => header.compressed = value,
                    }
                }
                page @ (5 | 7 | 8) if field.value_type == super::thrift::STRUCT => {
                    reader.fields(|reader, field| {
                        if let (8, 7, Some(is_compressed)) = (page, field.id, field.truth()) {
                            header.is_uncompressed = !is_compressed;
                            return Ok(false);
                        }
                        if !field.is_integer() {
                            return Ok(false);
                        }
                        let value = reader.integer()?;
                        match (page, field.id) {
                            (_, 1) => header.values = value,
                            (5 | 7, 2) | (8, 4) => header.encoding = value,
                            (5, 3) => header.definition_encoding = value,
                            (8, 2) => header.nulls = value,
                            (8, 3) => header.rows = value,
                            (8, 5) => header.definition_bytes = value,
                            (8, 6) => header.repetition_bytes = value,
                            _ => {}
                        }
                        Ok(true)
                    })?;
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(header)
    }

    /// Length of the levels of a page of the second version.
    fn levels(&self) -> Option<usize> {
        let [definition, repetition] = [self.definition_bytes, self.repetition_bytes];
        usize::try_from(definition).ok()?.checked_add(usize::try_from(repetition).ok()?)
    }
}

/// Checks an encoding that begins with the number of its values, for which the decoder allocates memory.
fn check_lengths(encoding: Encoding, content: &[u8], values: u32) -> Result<()> {
    match encoding {
        Encoding::DELTA_LENGTH_BYTE_ARRAY => {
            let mut reader = Reader::new(content);
            let mut number =
                || reader.varint().map_err(|_| invalid("the lengths of a page's texts are damaged"));
            let (_block, _parts, lengths) = (number()?, number()?, number()?);
            // the decoder takes four bytes for each
            if lengths > u64::from(values) || lengths > PAGE_LIMIT_BYTES as u64 / 4 {
                return Err(invalid("a page has more texts than values"));
            }
            Ok(())
        }
        // there are two such numbers, and the second one is within the page
        Encoding::DELTA_BYTE_ARRAY => {
            Err(ParquetError::NYI("the encoding DELTA_BYTE_ARRAY is not supported".to_owned()))
        }
        _ => Ok(()),
    }
}

/// The encoding with this number.
fn encoding(number: i64) -> Result<Encoding> {
    Ok(match number {
        0 => Encoding::PLAIN,
        2 => Encoding::PLAIN_DICTIONARY,
        3 => Encoding::RLE,
        5 => Encoding::DELTA_BINARY_PACKED,
        6 => Encoding::DELTA_LENGTH_BYTE_ARRAY,
        7 => Encoding::DELTA_BYTE_ARRAY,
        8 => Encoding::RLE_DICTIONARY,
        9 => Encoding::BYTE_STREAM_SPLIT,
        other => {
            return Err(ParquetError::NYI(format!("the encoding with the number {other} is not supported")));
        }
    })
}

fn invalid(reason: impl Into<String>) -> ParquetError {
    ParquetError::General(reason.into())
}

impl Iterator for Pages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        while self.position < self.end {
            let header = self.header()?;
            if header.page_type == INDEX {
                self.position = self.position.saturating_add(header.compressed.unsigned_abs()).min(self.end);
                continue;
            }
            let content = self.content(&header)?;
            return Ok(Some(match header.page_type {
                DICTIONARY => self.dictionary(&header, content)?,
                DATA | DATA_V2 => self.data(&header, content)?,
                other => return Err(invalid(format!("a page has the unknown type {other}"))),
            }));
        }
        Ok(None)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        Err(ParquetError::NYI("pages are only read in order".to_owned()))
    }

    fn skip_next_page(&mut self) -> Result<()> {
        Err(ParquetError::NYI("pages are only read in order".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use parquet::basic::Compression;
    use parquet::schema::parser::parse_message_type;
    use parquet::schema::types::SchemaDescriptor;

    use super::*;

    /// An integer field with the next id.
    fn integer(value: i64, bytes: &mut Vec<u8>) {
        bytes.push(0x15);
        let mut rest = ((value << 1) ^ (value >> 63)) as u64;
        while rest >= 0x80 {
            bytes.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        bytes.push(rest as u8);
    }

    /// A page: its type, its declared sizes, and the fields of the header of that type.
    fn page(page_type: i64, uncompressed: i64, compressed: i64, fields: &[i64], content: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        [page_type, uncompressed, compressed].into_iter().for_each(|value| integer(value, &mut bytes));
        // the ids of the headers are 5, 7 and 8
        bytes.push(match page_type {
            DATA => 0x2c,
            DICTIONARY => 0x4c,
            _ => 0x5c,
        });
        fields.iter().for_each(|value| integer(*value, &mut bytes));
        bytes.extend([0, 0]);
        bytes.extend(content);
        bytes
    }

    fn pages(column: &str, compression: Compression, file: Vec<u8>, budget: &Arc<Budget>) -> Pages {
        let schema = parse_message_type(&format!("message m {{ optional {column} a; }}")).unwrap();
        let descriptor = SchemaDescriptor::new(Arc::new(schema)).column(0);
        let chunk = ColumnChunkMetaData::builder(descriptor)
            .set_compression(compression)
            .set_data_page_offset(0)
            .set_total_compressed_size(file.len() as i64)
            .build()
            .unwrap();
        Pages::new(Arc::new(Bytes::from(file)), &chunk, Arc::clone(budget)).unwrap()
    }

    fn refusal(column: &str, compression: Compression, file: Vec<u8>) -> String {
        let mut pages = pages(column, compression, file, &Arc::default());
        std::iter::from_fn(|| pages.next()).find_map(Result::err).unwrap().to_string()
    }

    #[test]
    fn declared_sizes_are_checked_before_memory_is_allocated() {
        let plain = Compression::UNCOMPRESSED;
        let large = i64::from(i32::MAX);
        for (column, file, reason) in [
            ("int64", page(DATA, large, 8, &[1, 0, 3, 3], &[0; 8]), "expected at most 8 MiB"),
            ("int64", page(DATA, 8, large, &[1, 0, 3, 3], &[0; 8]), "expected at most 8 MiB"),
            ("int64", page(DATA, -1, 8, &[1, 0, 3, 3], &[0; 8]), "expected at most 8 MiB"),
            ("int64", page(DATA, 8, 9000, &[1, 0, 3, 3], &[0; 8]), "longer than its column"),
            ("int64", page(DATA, 9, 8, &[1, 0, 3, 3], &[0; 8]), "not as long as its header says"),
            ("int64", page(DATA, 8, 8, &[-1, 0, 3, 3], &[0; 8]), "declares -1 values"),
            ("int64", page(DATA, 8, 8, &[1, 8, 3, 3], &[0; 8]), "needs a dictionary"),
            ("int64", page(DATA, 8, 8, &[1, 4, 3, 3], &[0; 8]), "encoding with the number 4"),
            ("int64", page(DICTIONARY, 8, 8, &[large, 0], &[0; 8]), "a dictionary of 8 bytes declares"),
            ("binary", page(DICTIONARY, 8, 8, &[3, 0], &[0; 8]), "a dictionary of 8 bytes declares"),
            ("boolean", page(DICTIONARY, 8, 8, &[1, 0], &[0; 8]), "truth values has a dictionary"),
            (
                "int64",
                page(DATA_V2, 8, 8, &[1, 0, 1, 0, large, large], &[0; 8]),
                "levels of a page are longer",
            ),
            // no levels, and then blocks of 128 values in 4 parts, with 2^34 lengths
            (
                "binary",
                page(DATA, 12, 12, &[9, 6, 3, 3], &[0, 0, 0, 0, 0x80, 1, 4, 0x80, 0x80, 0x80, 0x80, 0x40]),
                "more texts than values",
            ),
            ("int64", page(7, 8, 8, &[], &[0; 8]), "the unknown type 7"),
            ("int64", vec![0x15; 300], "the header of a page is damaged"),
        ] {
            let error = refusal(column, plain, file);
            assert!(error.contains(reason), "{reason}: {error}");
        }
    }

    #[test]
    fn a_page_is_decompressed_no_further_than_its_declared_size() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&vec![0; 1024 * 1024]).unwrap();
        let bomb = encoder.finish().unwrap();
        let file = page(DATA, 100, bomb.len() as i64, &[1, 0, 3, 3], &bomb);
        let error = refusal("int64", Compression::GZIP(parquet::basic::GzipLevel::default()), file);
        assert!(error.contains("a page declares 100 bytes and has 101 or more"), "{error}");
    }

    #[test]
    fn columns_share_the_memory_and_give_it_back() {
        let budget = Arc::<Budget>::default();
        let size = 7 * 1024 * 1024;
        let file = page(DATA, size, size, &[1, 0, 3, 3], &vec![0; size as usize]);
        let column = || pages("int64", Compression::UNCOMPRESSED, file.clone(), &budget);
        let mut open: Vec<Pages> = (0..10).map(|_| column()).collect();
        assert!(open[..9].iter_mut().all(|pages| pages.get_next_page().is_ok()));
        let error = open[9].get_next_page().unwrap_err().to_string();
        assert!(error.contains("take more than 64 MiB"), "{error}");
        drop(open);
        assert!(column().get_next_page().unwrap().is_some());
    }
}
