//! Converts one cell to one value of its column's type: the binary form for COPY, and the text that the server
//! prints.
//!
//! Both forms come from the same parse, so a row key always matches the stored value. A text that the server accepts
//! is either read exactly as the server reads it, or refused. It is never altered.

use std::fmt;

use tokio_postgres::types::Type;

use super::numeric::Decimal;
use super::timestamp::Timestamp;
use super::{cell, float8, integer, timestamp};
use crate::extract::rows::{Cell, Unfit};

/// The column types that a load can fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// `text`, and `varchar` without a limit
    Text,
    /// `varchar(n)` and `char(n)`: text of at most this many characters
    LimitedText(u32),
    /// `smallint`
    SmallInt,
    /// `integer`
    Integer,
    /// `bigint`
    BigInt,
    /// `real`
    Real,
    /// `double precision`
    Double,
    /// `numeric`, with its precision and scale if it has them
    Numeric(Option<(u16, u16)>),
    /// `boolean`
    Boolean,
    /// `date`
    Date,
    /// `timestamp` without time zone, at full precision
    Timestamp,
    /// `timestamp with time zone`, at full precision. The cell is a local time: the encoder of the row, which knows
    /// the time zone, converts it.
    TimestampTz,
}

/// Why a cell is not a valid value of its column's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CellError {
    /// The cell is not a value of the type, or the value is out of range.
    #[error("expected a value of type {0}")]
    NotOfType(ColumnType),
    /// The cell is not UTF-8, the encoding of the server's text.
    #[error("expected UTF-8 text: --encoding windows-1252 reads the bytes as text of Windows")]
    NotUtf8,
    /// The cell contains a NUL byte, which the server's text cannot hold.
    #[error("a text column cannot store a NUL byte")]
    HasNul,
    /// The cell has a value that no column can hold.
    #[error("{0}")]
    Unfit(Unfit),
    /// The cell is a point in time, and the column has no time zone.
    #[error(
        "the file's times are points in time (UTC), and the column holds local times without a time zone"
    )]
    IsInstant,
    /// The cell is empty, and the column is NOT NULL.
    #[error("the column is NOT NULL, and an empty cell is NULL")]
    IsNull,
}

impl fmt::Display for ColumnType {
    /// The type's SQL name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("text"),
            Self::LimitedText(limit) => write!(f, "varchar({limit})"),
            Self::SmallInt => f.write_str("smallint"),
            Self::Integer => f.write_str("integer"),
            Self::BigInt => f.write_str("bigint"),
            Self::Real => f.write_str("real"),
            Self::Double => f.write_str("double precision"),
            Self::Numeric(None) => f.write_str("numeric"),
            Self::Numeric(Some((precision, scale))) => write!(f, "numeric({precision},{scale})"),
            Self::Boolean => f.write_str("boolean"),
            Self::Date => f.write_str("date"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::TimestampTz => f.write_str("timestamp with time zone"),
        }
    }
}

impl ColumnType {
    /// The type with this SQL name, without limits; `None` if loads do not support it.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let types = [
            Self::Text,
            Self::SmallInt,
            Self::Integer,
            Self::BigInt,
            Self::Real,
            Self::Double,
            Self::Numeric(None),
            Self::Boolean,
            Self::Date,
            Self::Timestamp,
            Self::TimestampTz,
        ];
        types.into_iter().find(|column_type| column_type.to_string() == name)
    }

    /// The type for the catalog's `oid` and type modifier; `None` if loads do not support it.
    pub fn from_catalog(oid: u32, modifier: i32) -> Option<Self> {
        // the modifier of a type with a limit contains the length of a header (`VARHDRSZ`)
        let limit = modifier - 4;
        match Type::from_oid(oid)? {
            Type::TEXT => Some(Self::Text),
            Type::VARCHAR | Type::BPCHAR if modifier == -1 => Some(Self::Text),
            Type::VARCHAR | Type::BPCHAR => Some(Self::LimitedText(limit.unsigned_abs())),
            Type::INT2 => Some(Self::SmallInt),
            Type::INT4 => Some(Self::Integer),
            Type::INT8 => Some(Self::BigInt),
            Type::FLOAT4 => Some(Self::Real),
            Type::FLOAT8 => Some(Self::Double),
            Type::NUMERIC if modifier == -1 => Some(Self::Numeric(None)),
            Type::NUMERIC => {
                let (precision, scale) = ((limit >> 16) as u16, (limit & 0x7ff) as u16);
                // a negative scale has a higher bit set
                (scale <= precision).then_some(Self::Numeric(Some((precision, scale))))
            }
            Type::BOOL => Some(Self::Boolean),
            Type::DATE => Some(Self::Date),
            // timestamp(0) would round the stored value, and a match would no longer have the time of its key
            Type::TIMESTAMP if modifier == -1 => Some(Self::Timestamp),
            Type::TIMESTAMPTZ if modifier == -1 => Some(Self::TimestampTz),
            _ => None,
        }
    }

    /// Appends the cell to `field` as a field of binary COPY and, if `text` is given, to `text` as a part of the row
    /// key.
    ///
    /// The part of the key is what the server prints for the type that the course's tables use for such a value: a
    /// number with a fraction counts as `double precision`, a time as `timestamp`, a flag as text. A key therefore does
    /// not depend on the target's types. The field of NULL is the length -1, and its text is empty.
    #[inline]
    pub fn encode(
        self,
        cell: Cell<'_>,
        field: &mut Vec<u8>,
        text: Option<&mut Vec<u8>>,
    ) -> Result<(), CellError> {
        match cell {
            Cell::Null => {
                field.extend_from_slice(&(-1_i32).to_be_bytes());
                Ok(())
            }
            Cell::Text(cell) => self.encode_text(cell, field, text),
            typed => self.encode_typed(typed, field, text),
        }
    }

    /// Encodes a typed value as the server would read its text, and refuses it if the type cannot hold exactly this
    /// value.
    fn encode_typed(
        self,
        cell: Cell<'_>,
        field: &mut Vec<u8>,
        text: Option<&mut Vec<u8>>,
    ) -> Result<(), CellError> {
        let not_of_type = CellError::NotOfType(self);
        match (self, cell) {
            (_, Cell::Unfit { reason, .. }) => Err(CellError::Unfit(reason)),
            (_, Cell::Instant(_)) => Err(CellError::IsInstant),
            (Self::SmallInt | Self::Integer | Self::BigInt, Cell::Integer(value)) => {
                self.append_integer(value, field, text)
            }
            (Self::SmallInt | Self::Integer | Self::BigInt, Cell::Double(value)) => {
                self.append_integer(whole(value).ok_or(not_of_type)?, field, text)
            }
            (Self::Double, Cell::Double(value)) => {
                append_double(value, field, text);
                Ok(())
            }
            (Self::Double, Cell::Real(value)) => {
                append_double(value.into(), field, text);
                Ok(())
            }
            (Self::Double, Cell::Integer(value)) => {
                if whole(value as f64) != Some(value) {
                    return Err(not_of_type);
                }
                append_double(value as f64, field, text);
                Ok(())
            }
            (Self::Real, Cell::Real(value)) => {
                append(value.to_be_bytes(), field);
                if let Some(text) = text {
                    float8::append_shortest(value.into(), text);
                }
                Ok(())
            }
            (Self::Timestamp | Self::TimestampTz, Cell::Timestamp(value)) => {
                append(value.to_be_bytes(), field);
                if let Some(text) = text {
                    timestamp::append_value(Timestamp(value), text);
                }
                Ok(())
            }
            (Self::Date, Cell::Date(value)) => {
                append(value.to_be_bytes(), field);
                if let Some(text) = text {
                    cell::append_text(cell, text);
                }
                Ok(())
            }
            // a time at midnight is a date
            (Self::Date, Cell::Timestamp(value)) => {
                let day = timestamp::whole_days(Timestamp(value)).ok_or(not_of_type)?;
                self.encode_typed(Cell::Date(day), field, text)
            }
            // the text of a number in single precision depends on who prints it
            (_, Cell::Real(value)) => {
                self.encode_typed(Cell::Integer(whole(value.into()).ok_or(not_of_type)?), field, text)
            }
            // the text of 1.0 depends on who prints it
            (Self::Text | Self::LimitedText(_), Cell::Decimal { scale: 1.., .. }) => Err(not_of_type),
            (Self::Text, _) => {
                let start = field.len();
                append([0; 0], field);
                cell::append_text(cell, field);
                set_length(start, field);
                if let Some(text) = text {
                    text.extend_from_slice(&field[start + 4..]);
                }
                Ok(())
            }
            _ => {
                let mut printed = Vec::with_capacity(32);
                cell::append_text(cell, &mut printed);
                self.encode_text(&printed, field, text)
            }
        }
    }

    /// Encodes a text as the server reads it.
    fn encode_text(
        self,
        cell: &[u8],
        field: &mut Vec<u8>,
        text: Option<&mut Vec<u8>>,
    ) -> Result<(), CellError> {
        let not_of_type = CellError::NotOfType(self);
        match self {
            Self::Text => {
                check_text(cell)?;
                append_text(cell, field);
                if let Some(text) = text {
                    text.extend_from_slice(cell);
                }
            }
            Self::LimitedText(limit) => {
                check_text(cell)?;
                if String::from_utf8_lossy(cell).chars().count() > limit as usize {
                    return Err(not_of_type);
                }
                return Self::Text.encode_text(cell, field, text);
            }
            Self::SmallInt | Self::Integer | Self::BigInt => {
                let value = integer::parse(cell).ok_or(not_of_type)?;
                self.append_integer(value, field, text)?;
            }
            Self::Double => {
                let value = float8::parse(cell).ok_or(not_of_type)?;
                append(value.to_be_bytes(), field);
                if let Some(text) = text {
                    float8::append_text(cell, value, text);
                }
            }
            Self::Real | Self::Numeric(_) => {
                let value = float8::parse(cell).ok_or(not_of_type)?;
                self.append_decimal(cell, value, field).ok_or(not_of_type)?;
                if let Some(text) = text {
                    float8::append_text(cell, value, text);
                }
            }
            Self::Boolean => {
                append([u8::from(parse_boolean(cell).ok_or(not_of_type)?)], field);
                if let Some(text) = text {
                    text.extend_from_slice(cell);
                }
            }
            Self::Date => {
                append(timestamp::parse_date(cell).ok_or(not_of_type)?.to_be_bytes(), field);
                if let Some(text) = text {
                    text.extend_from_slice(cell.trim_ascii());
                }
            }
            Self::Timestamp | Self::TimestampTz => {
                let value = timestamp::parse_timestamp(cell).ok_or(not_of_type)?;
                append(value.0.to_be_bytes(), field);
                if let Some(text) = text {
                    timestamp::append_timestamp(cell, value, text);
                }
            }
        }
        Ok(())
    }

    /// Appends a `real` or a `numeric`. `value` is the cell as a double. Returns `None` if the type cannot hold it.
    fn append_decimal(self, cell: &[u8], value: f64, field: &mut Vec<u8>) -> Option<()> {
        let Self::Numeric(limits) = self else {
            // the text is rounded once, as the server does
            let real: f32 = std::str::from_utf8(cell.trim_ascii()).ok()?.parse().ok()?;
            let is_lost = real.is_infinite() && value.is_finite() || real == 0.0 && value != 0.0;
            append(real.to_be_bytes(), field);
            return (!is_lost).then_some(());
        };
        let decimal = Decimal::parse(cell)?;
        if !limits.is_none_or(|(precision, scale)| decimal.fits(precision, scale)) {
            return None;
        }
        let start = field.len();
        append([0; 0], field);
        decimal.append(field);
        set_length(start, field);
        Some(())
    }

    /// Appends an integer of this type.
    fn append_integer(
        self,
        value: i64,
        field: &mut Vec<u8>,
        text: Option<&mut Vec<u8>>,
    ) -> Result<(), CellError> {
        let not_of_type = CellError::NotOfType(self);
        match self {
            Self::SmallInt => append(i16::try_from(value).map_err(|_| not_of_type)?.to_be_bytes(), field),
            Self::Integer => append(i32::try_from(value).map_err(|_| not_of_type)?.to_be_bytes(), field),
            _ => append(value.to_be_bytes(), field),
        }
        if let Some(text) = text {
            cell::append_text(Cell::Integer(value), text);
        }
        Ok(())
    }
}

/// The whole number that equals `value`.
fn whole(value: f64) -> Option<i64> {
    // the limits are powers of two, and so exact
    let is_whole = value.fract() == 0.0 && (-(2_f64.powi(63))..2_f64.powi(63)).contains(&value);
    is_whole.then_some(value as i64)
}

fn append_double(value: f64, field: &mut Vec<u8>, text: Option<&mut Vec<u8>>) {
    append(value.to_be_bytes(), field);
    if let Some(text) = text {
        float8::append_value(value, text);
    }
}

/// Sets the length of the field that begins at `start` and ends at the end of `field`.
fn set_length(start: usize, field: &mut [u8]) {
    let length = (field.len() - start - 4) as i32;
    field[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// Parses a boolean as the server does: a word, or an unambiguous start of it, in any case.
fn parse_boolean(cell: &[u8]) -> Option<bool> {
    let word = cell.trim_ascii().to_ascii_lowercase();
    let starts = |whole: &str, shortest: usize| word.len() >= shortest && whole.as_bytes().starts_with(&word);
    match () {
        () if starts("true", 1) || starts("yes", 1) || starts("on", 2) || word == b"1" => Some(true),
        () if starts("false", 1) || starts("no", 1) || starts("off", 2) || word == b"0" => Some(false),
        () => None,
    }
}

fn check_text(cell: &[u8]) -> Result<(), CellError> {
    // fast path: for a short ASCII cell, this loop is cheaper than the two calls below
    if cell.iter().all(|byte| matches!(byte, 1..=0x7f)) {
        return Ok(());
    }
    std::str::from_utf8(cell).map_err(|_| CellError::NotUtf8)?;
    if memchr::memchr(0, cell).is_some() { Err(CellError::HasNul) } else { Ok(()) }
}

fn append<const WIDTH: usize>(value: [u8; WIDTH], field: &mut Vec<u8>) {
    field.extend_from_slice(&(WIDTH as i32).to_be_bytes());
    field.extend_from_slice(&value);
}

/// Appends `text` as a field of binary COPY. Cells are limited to far less than the 2 GiB that the length can
/// express.
fn append_text(text: &[u8], field: &mut Vec<u8>) {
    field.extend_from_slice(&(text.len() as i32).to_be_bytes());
    field.extend_from_slice(text);
}
