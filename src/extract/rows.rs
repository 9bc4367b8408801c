//! The seam between the formats of files and everything after them: a file has named columns and rows of typed cells,
//! whatever its format is.

use crate::error::Result;

/// Length of the longest text of a cell, and of the longest row. As for a line of CSV, this bounds the memory.
pub(crate) const TEXT_LIMIT_BYTES: usize = 1024 * 1024;

/// A column of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileColumn {
    /// The name as the file spells it, without spaces around it.
    pub spelling: String,
    /// The name that the column has in a table, in lower case.
    pub name: String,
    /// Whether the file's format says that the column has no values.
    pub has_no_values: bool,
}

impl FileColumn {
    /// A column with the name that the file has for it.
    pub fn new(spelling: &str) -> Self {
        Self { spelling: spelling.to_owned(), name: spelling.to_lowercase(), has_no_values: false }
    }
}

/// The value of a cell. Times count from 2000-01-01, as the server's do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell<'a> {
    /// No value.
    Null,
    /// Text, also of a number or a time if the format has text only. Not checked for its encoding.
    Text(&'a [u8]),
    /// A whole number.
    Integer(i64),
    /// A number in double precision.
    Double(f64),
    /// A number in single precision.
    Real(f32),
    /// A decimal: this number of units of ten to the power of minus `scale`.
    Decimal {
        /// The number without its decimal point.
        unscaled: &'a i128,
        /// Number of digits after the decimal point.
        scale: u8,
    },
    /// A truth value.
    Boolean(bool),
    /// A day: days since 2000-01-01.
    Date(i32),
    /// A local time: microseconds since 2000-01-01.
    Timestamp(i64),
    /// A point in time: microseconds since 2000-01-01 UTC.
    Instant(i64),
    /// A value that no column can hold exactly.
    Unfit {
        /// Why not.
        reason: Unfit,
        /// The value for messages, as the variants of the reason say.
        value: i64,
    },
}

/// Why no column of a table can hold a value exactly. Without the value, it fits into a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// A time with a fraction of a microsecond. Its value: nanoseconds since 1970-01-01, or the closest number of 64 bits.
    #[error("the time is not a whole number of microseconds")]
    Nanoseconds,
    /// A time or a day outside of the years 1 to 9999. Its value: a number of the file's unit since 1970-01-01.
    #[error("the time is outside of the years 1 to 9999")]
    Era,
    /// A number that is larger than 64 bits with a sign can hold. Its value: the same bits.
    #[error("the number is larger than 9223372036854775807")]
    Unsigned,
    /// A text that is too long. Its value: the length.
    #[error("the text is longer than 1 MiB")]
    LongText,
}

/// A row of a file.
pub trait Row {
    /// Number of cells.
    fn width(&self) -> usize;
    /// The cell at a position, counted from 0.
    fn cell(&self, position: usize) -> Cell<'_>;
}

/// The rows of a file, one after another.
pub(crate) trait Rows: Send + 'static {
    /// The type of a row.
    type Row: Row;

    /// Reads the next row. Returns `false` at the end.
    fn read(&mut self) -> impl Future<Output = Result<bool>> + Send;
    /// The row that was read last.
    fn row(&self) -> &Self::Row;
    /// Where the row is in the file, in the file's [`Place`].
    fn position(&self) -> u64;
    /// Number of bytes of CSV read so far; 0 for other formats.
    fn csv_bytes(&self) -> u64;
    /// The file's address, as used in errors.
    fn address(&self) -> &str;
    /// What the positions count.
    fn place(&self) -> Place;
}

/// What the positions of rows in a file count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Place {
    /// Lines of text; the header is line 1.
    #[default]
    Line,
    /// Rows; the first is row 1.
    Row,
}

impl Place {
    /// The word for one such place.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::Row => "row",
        }
    }
}
