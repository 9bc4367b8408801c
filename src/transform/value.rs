//! Converts one cell to one value of its column's type: the binary form for COPY, and the text that the server
//! prints.
//!
//! Both forms come from the same parse, so a row key always matches the stored value. A text that the server accepts
//! is either read exactly as the server reads it, or refused. It is never altered.

use tokio_postgres::types::Type;

use super::{float8, integer, timestamp};

/// The column types that a load can fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// `text`, `varchar`
    Text,
    /// `smallint`
    SmallInt,
    /// `integer`
    Integer,
    /// `bigint`
    BigInt,
    /// `double precision`
    Double,
    /// `date`
    Date,
    /// `timestamp` without time zone, at full precision
    Timestamp,
}

/// Why a cell is not a valid value of its column's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CellError {
    /// The cell is not a value of the type, or the value is out of range.
    #[error("expected a value of type {}", .0.name())]
    NotOfType(ColumnType),
    /// The cell is not UTF-8, the encoding of the server's text.
    #[error("expected UTF-8 text")]
    NotUtf8,
    /// The cell contains a NUL byte, which the server's text cannot hold.
    #[error("a text column cannot store a NUL byte")]
    HasNul,
}

impl ColumnType {
    /// The type for the catalog's `oid` and type modifier; `None` if loads do not support it.
    pub fn from_catalog(oid: u32, modifier: i32) -> Option<Self> {
        match Type::from_oid(oid)? {
            Type::TEXT => Some(Self::Text),
            // varchar(n) drops excess trailing blanks, but the key would be computed from the text with them
            Type::VARCHAR if modifier == -1 => Some(Self::Text),
            Type::INT2 => Some(Self::SmallInt),
            Type::INT4 => Some(Self::Integer),
            Type::INT8 => Some(Self::BigInt),
            Type::FLOAT8 => Some(Self::Double),
            Type::DATE => Some(Self::Date),
            // timestamp(0) rounds the stored value, but the key would be computed from the unrounded text
            Type::TIMESTAMP if modifier == -1 => Some(Self::Timestamp),
            _ => None,
        }
    }

    /// The type's SQL name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::SmallInt => "smallint",
            Self::Integer => "integer",
            Self::BigInt => "bigint",
            Self::Double => "double precision",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
        }
    }

    /// Appends the cell to `field` as a field of binary COPY and, if `text` is given, to `text` as the server
    /// prints it.
    ///
    /// An empty cell is NULL: its field is the length -1, and its text is empty.
    pub fn encode(
        self,
        cell: &[u8],
        field: &mut Vec<u8>,
        text: Option<&mut Vec<u8>>,
    ) -> Result<(), CellError> {
        if cell.is_empty() {
            field.extend_from_slice(&(-1_i32).to_be_bytes());
            return Ok(());
        }
        let not_of_type = CellError::NotOfType(self);
        match self {
            Self::Text => {
                check_text(cell)?;
                append_text(cell, field);
                if let Some(text) = text {
                    text.extend_from_slice(cell);
                }
            }
            Self::SmallInt | Self::Integer | Self::BigInt => {
                let value = integer::parse(cell).ok_or(not_of_type)?;
                match self {
                    Self::SmallInt => {
                        append(i16::try_from(value).map_err(|_| not_of_type)?.to_be_bytes(), field)
                    }
                    Self::Integer => {
                        append(i32::try_from(value).map_err(|_| not_of_type)?.to_be_bytes(), field)
                    }
                    _ => append(value.to_be_bytes(), field),
                }
                if let Some(text) = text {
                    text.extend_from_slice(value.to_string().as_bytes());
                }
            }
            Self::Double => {
                let value = float8::parse(cell).ok_or(not_of_type)?;
                append(value.to_be_bytes(), field);
                if let Some(text) = text {
                    float8::append_text(cell, value, text);
                }
            }
            Self::Date => {
                append(timestamp::parse_date(cell).ok_or(not_of_type)?.to_be_bytes(), field);
                if let Some(text) = text {
                    text.extend_from_slice(cell.trim_ascii());
                }
            }
            Self::Timestamp => {
                let value = timestamp::parse_timestamp(cell).ok_or(not_of_type)?;
                append(value.0.to_be_bytes(), field);
                if let Some(text) = text {
                    timestamp::append_timestamp(cell, value, text);
                }
            }
        }
        Ok(())
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
