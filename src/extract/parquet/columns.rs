//! Decodes the values of a column, batch after batch, and yields them as cells.

use std::sync::Arc;

use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader};
use parquet::data_type::{ByteArray, DataType, FixedLenByteArray, Int96};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ColumnChunkMetaData;

use super::kind::Kind;
use super::pages::{Budget, Pages};
use super::source::ReadAt;
use crate::extract::rows::{Cell, TEXT_LIMIT_BYTES, Unfit};

/// Seconds from 1970-01-01 to 2000-01-01.
const EPOCH_SECONDS: i64 = 946_684_800;
const EPOCH_DAYS: i64 = EPOCH_SECONDS / 86_400;
/// The seconds since 1970-01-01 of the years 1 to 9999.
const ERA_SECONDS: std::ops::Range<i64> = -62_135_596_800..253_402_300_800;
/// 1970-01-01 as a Julian day, from which the days of INT96 count.
const EPOCH_JULIAN_DAY: i128 = 2_440_588;
const NANOSECONDS_PER_DAY: i128 = 86_400_000_000_000;

/// Reads a column in one row group.
pub(super) struct Decoder {
    kind: Kind,
    reader: ColumnReader,
    is_nullable: bool,
}

/// The values of a column in a batch of rows.
pub(super) struct Values {
    kind: Kind,
    /// 1 for each row that has a value; empty if all rows have one.
    levels: Vec<i16>,
    values: Typed,
}

enum Typed {
    Boolean(Vec<bool>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    /// Nanoseconds since 1970-01-01, or decimals without their point.
    Wide(Vec<i128>),
    Real(Vec<f32>),
    Double(Vec<f64>),
    /// Texts, one after another, and where each ends.
    Text {
        bytes: Vec<u8>,
        ends: Vec<usize>,
    },
}

impl Decoder {
    pub(super) fn new(
        source: &Arc<dyn ReadAt>,
        chunk: &ColumnChunkMetaData,
        kind: Kind,
        budget: &Arc<Budget>,
    ) -> Result<Self> {
        let pages = Pages::new(Arc::clone(source), chunk, Arc::clone(budget))?;
        let descriptor = chunk.column_descr_ptr();
        let is_nullable = descriptor.max_def_level() > 0;
        Ok(Self { kind, reader: get_column_reader(descriptor, Box::new(pages)), is_nullable })
    }

    /// Reads the next `rows` values. All texts together have at most `text_limit` bytes.
    pub(super) fn read(&mut self, rows: usize, text_limit: usize) -> Result<Values> {
        let (kind, nullable) = (self.kind, self.is_nullable);
        let (levels, values) = match &mut self.reader {
            ColumnReader::BoolColumnReader(reader) => read(reader, rows, nullable)?.typed(Typed::Boolean),
            ColumnReader::Int32ColumnReader(reader) => match (read(reader, rows, nullable)?, kind) {
                (spread, Kind::Decimal { .. }) => spread.map(|value| Ok(i128::from(*value)))?,
                (spread, _) => spread.typed(Typed::Int32),
            },
            ColumnReader::Int64ColumnReader(reader) => match (read(reader, rows, nullable)?, kind) {
                (spread, Kind::Decimal { .. }) => spread.map(|value| Ok(i128::from(*value)))?,
                (spread, _) => spread.typed(Typed::Int64),
            },
            ColumnReader::FloatColumnReader(reader) => read(reader, rows, nullable)?.typed(Typed::Real),
            ColumnReader::DoubleColumnReader(reader) => read(reader, rows, nullable)?.typed(Typed::Double),
            ColumnReader::Int96ColumnReader(reader) => read(reader, rows, nullable)?.map(nanoseconds)?,
            ColumnReader::FixedLenByteArrayColumnReader(reader) => {
                read(reader, rows, nullable)?.map(|value: &FixedLenByteArray| wide(value.data()))?
            }
            ColumnReader::ByteArrayColumnReader(reader) => {
                let spread = read(reader, rows, nullable)?;
                match kind {
                    Kind::Decimal { .. } => spread.map(|value: &ByteArray| wide(value.data()))?,
                    _ => spread.texts(text_limit)?,
                }
            }
        };
        Ok(Values { kind, levels, values })
    }
}

/// The values of a batch, one for each row; of a row without a value, the default.
struct Spread<V> {
    levels: Vec<i16>,
    values: Vec<V>,
}

fn read<T: DataType>(reader: &mut ColumnReaderImpl<T>, rows: usize, nullable: bool) -> Result<Spread<T::T>> {
    let (mut levels, mut values) = (Vec::new(), Vec::with_capacity(rows));
    let (records, _, _) = reader.read_records(rows, nullable.then_some(&mut levels), None, &mut values)?;
    if records != rows {
        return Err(ParquetError::EOF("the column has fewer values than the row group has rows".to_owned()));
    }
    if values.len() == rows {
        levels.clear();
    }
    // move the values to their rows, from the last one on
    let mut from = values.len();
    values.resize_with(rows, T::T::default);
    for (row, level) in levels.iter().enumerate().rev() {
        if *level > 0 {
            from = from.checked_sub(1).ok_or_else(|| ParquetError::EOF("values are missing".to_owned()))?;
            values.swap(from, row);
        }
    }
    Ok(Spread { levels, values })
}

impl<V> Spread<V> {
    fn typed(self, typed: impl FnOnce(Vec<V>) -> Typed) -> (Vec<i16>, Typed) {
        (self.levels, typed(self.values))
    }

    /// Converts each value that a row has.
    fn map(self, convert: impl Fn(&V) -> Result<i128>) -> Result<(Vec<i16>, Typed)> {
        let has_value = |row: usize| self.levels.get(row).is_none_or(|level| *level > 0);
        let wide = self.values.iter().enumerate();
        let wide = wide.map(|(row, value)| if has_value(row) { convert(value) } else { Ok(0) });
        Ok((self.levels.clone(), Typed::Wide(wide.collect::<Result<_>>()?)))
    }
}

impl Spread<ByteArray> {
    /// Copies the texts, so that they do not keep the pages in memory.
    fn texts(self, limit: usize) -> Result<(Vec<i16>, Typed)> {
        let has_value = |row: usize| self.levels.get(row).is_none_or(|level| *level > 0);
        let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(self.values.len()));
        for (row, value) in self.values.iter().enumerate() {
            if has_value(row) {
                if value.len() > limit - bytes.len() {
                    let text = "the texts are too long: those of one batch of rows have more than 8 MiB";
                    return Err(ParquetError::General(text.to_owned()));
                }
                bytes.extend_from_slice(value.data());
            }
            ends.push(bytes.len());
        }
        Ok((self.levels, Typed::Text { bytes, ends }))
    }
}

/// A time of the old form: nanoseconds of a day, and the day.
fn nanoseconds(value: &Int96) -> Result<i128> {
    let [low, high, day] = *value.data() else {
        return Err(ParquetError::General("a time does not have 12 bytes".to_owned()));
    };
    let of_day = i128::from(u64::from(high) << 32 | u64::from(low));
    Ok((i128::from(day) - EPOCH_JULIAN_DAY) * NANOSECONDS_PER_DAY + of_day)
}

/// A number in two's complement, the highest byte first.
fn wide(bytes: &[u8]) -> Result<i128> {
    let Some(first) = bytes.first().filter(|_| bytes.len() <= 16) else {
        return Err(ParquetError::General(format!("a decimal has {} bytes; expected 1 to 16", bytes.len())));
    };
    let sign = if *first >= 0x80 { -1 } else { 0 };
    Ok(bytes.iter().fold(sign, |number: i128, byte| number << 8 | i128::from(*byte)))
}

impl Values {
    /// Number of bytes of texts.
    pub(super) fn text_bytes(&self) -> usize {
        match &self.values {
            Typed::Text { bytes, .. } => bytes.len(),
            _ => 0,
        }
    }

    /// The cell of a row.
    #[inline]
    pub(super) fn cell(&self, row: usize) -> Cell<'_> {
        if self.levels.get(row) == Some(&0) {
            return Cell::Null;
        }
        match &self.values {
            Typed::Boolean(values) => Cell::Boolean(values[row]),
            Typed::Int32(values) => self.integer(values[row].into(), u64::from(values[row] as u32)),
            Typed::Int64(values) => self.integer(values[row], values[row] as u64),
            Typed::Wide(values) => match self.kind {
                Kind::Decimal { scale } => Cell::Decimal { unscaled: &values[row], scale },
                _ => from_nanoseconds(values[row]),
            },
            Typed::Real(values) => Cell::Real(values[row]),
            Typed::Double(values) => Cell::Double(values[row]),
            Typed::Text { bytes, ends } => {
                let start = row.checked_sub(1).map_or(0, |before| ends[before]);
                match &bytes[start..ends[row]] {
                    long if long.len() > TEXT_LIMIT_BYTES => unfit(Unfit::LongText, long.len() as i64),
                    text => Cell::Text(text),
                }
            }
        }
    }

    /// The cell of an integer, which is also given as if it had no sign.
    fn integer(&self, value: i64, unsigned: u64) -> Cell<'_> {
        match self.kind {
            Kind::Unsigned => match i64::try_from(unsigned) {
                Ok(value) => Cell::Integer(value),
                Err(_) => unfit(Unfit::Unsigned, value),
            },
            Kind::Time { per_second, is_instant } => time(value, per_second, is_instant),
            Kind::Date => match value.checked_mul(86_400).filter(|seconds| ERA_SECONDS.contains(seconds)) {
                Some(_) => Cell::Date((value - EPOCH_DAYS) as i32),
                None => unfit(Unfit::Era, value),
            },
            _ => Cell::Integer(value),
        }
    }
}

fn unfit(reason: Unfit, value: i64) -> Cell<'static> {
    Cell::Unfit { reason, value }
}

fn from_nanoseconds(value: i128) -> Cell<'static> {
    match i64::try_from(value.div_euclid(1000)) {
        Ok(microseconds) if value.rem_euclid(1000) == 0 => time(microseconds, 1_000_000, false),
        _ => unfit(Unfit::Nanoseconds, value.clamp(i64::MIN.into(), i64::MAX.into()) as i64),
    }
}

/// The cell of a time since 1970-01-01.
fn time(value: i64, per_second: i64, is_instant: bool) -> Cell<'static> {
    if !ERA_SECONDS.contains(&value.div_euclid(per_second)) {
        return unfit(Unfit::Era, value);
    }
    // within the era, microseconds do not overflow
    let microseconds = match per_second {
        1_000 => value * 1000,
        1_000_000 => value,
        _ if value % 1000 != 0 => return unfit(Unfit::Nanoseconds, value),
        _ => value / 1000,
    };
    let since_2000 = microseconds - EPOCH_SECONDS * 1_000_000;
    if is_instant { Cell::Instant(since_2000) } else { Cell::Timestamp(since_2000) }
}
