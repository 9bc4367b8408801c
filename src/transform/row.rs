//! Converts one CSV record to one row of binary COPY: the cells and the row key, in table order. The row has no
//! field for the file name: it is the same for all rows, so the staging table supplies it as a column default.
//!
//! In: the table's columns, the CSV's header and the key columns, matched by name once per file. Out: bytes.
//! Refused: a header that does not have exactly the table's columns, a row of the wrong width, a cell of the wrong
//! type.

use std::ops::Range;

use csv_async::ByteRecord;

use super::row_key::{KEY_LENGTH, RowKey};
use super::timestamp::Timestamp;
use super::value::{CellError, ColumnType};

/// The columns that are computed instead of read from the file: the row key and the file name.
#[derive(Clone, Debug)]
pub struct Computed {
    /// The column that holds the row key.
    pub key_column: String,
    /// The columns whose values form the key, in order.
    pub key_of: Vec<String>,
    /// The column that holds the file name.
    pub filename_column: String,
}

/// A column to fill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The unquoted name, as in the catalog.
    pub name: String,
    /// The type of the column's values.
    pub column_type: ColumnType,
}

/// A header that does not match the table.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The table has a column that the file does not have.
    #[error("the header has no column {0:?}")]
    Missing(String),
    /// The file has a column that no column of the table is loaded from.
    #[error(
        "unknown column {name:?} at position {position} of the header: no column of the table is loaded from it"
    )]
    Unknown {
        /// Position in the header, counted from 1.
        position: usize,
        /// The name as the header spells it.
        name: String,
    },
    /// The header contains a name twice.
    #[error("duplicate column {name:?} at position {position} of the header")]
    Repeated {
        /// Position in the header, counted from 1.
        position: usize,
        /// The name as the header spells it.
        name: String,
    },
    /// The file does not have a column of the row key.
    #[error("the row key uses the column {0:?}, which the file does not have")]
    NoSuchKeyColumn(String),
}

/// A record that is not a valid row of the table.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// The record has more or fewer cells than the header.
    #[error("expected {expected} cells as in the header, found {found}")]
    Width {
        /// Number of cells in the record.
        found: usize,
        /// Number of cells in the header.
        expected: usize,
    },
    /// A cell is not valid for its column.
    #[error("invalid value {text:?} in column {column:?}: {error}")]
    Cell {
        /// The column's name.
        column: String,
        /// The cell's text, truncated.
        text: String,
        /// Why the cell is not valid.
        error: CellError,
    },
}

/// Where a field of the row comes from.
enum Field {
    Key,
    Cell { position: usize, column_type: ColumnType, key_part: Option<usize> },
}

/// What a load needs to know about a row besides its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The row's key.
    pub key: RowKey,
    /// The row's time, if it has one.
    pub time: Option<Timestamp>,
}

/// Encodes records as rows.
pub struct RowEncoder {
    columns: Vec<Column>,
    fields: Vec<Field>,
    width: usize,
    /// Position of the cell that holds the row's time.
    time_position: Option<usize>,
    /// The server's text of the key's cells, concatenated, and the range of each part in it.
    text: Vec<u8>,
    key_parts: Vec<Range<usize>>,
}

impl RowEncoder {
    /// Matches the `header` with the table's `columns`, ignoring case. `time_column` holds the rows' time; a file
    /// without it is refused, as for any other column.
    pub fn new(
        columns: &[Column],
        computed: &Computed,
        time_column: &str,
        header: &ByteRecord,
    ) -> Result<Self, HeaderError> {
        let names: Vec<String> =
            header.iter().map(|name| String::from_utf8_lossy(name.trim_ascii()).to_lowercase()).collect();
        let is_computed = |name: &str| {
            name == computed.key_column.to_lowercase() || name == computed.filename_column.to_lowercase()
        };
        for (index, name) in names.iter().enumerate() {
            let name_in_file = || String::from_utf8_lossy(&header[index]).into_owned();
            if names[..index].contains(name) {
                return Err(HeaderError::Repeated { position: index + 1, name: name_in_file() });
            }
            if is_computed(name) || !columns.iter().any(|column| column.name.to_lowercase() == *name) {
                return Err(HeaderError::Unknown { position: index + 1, name: name_in_file() });
            }
        }
        let key_of: Vec<String> = computed.key_of.iter().map(|name| name.to_lowercase()).collect();
        if let Some(missing) = key_of.iter().position(|name| !names.contains(name)) {
            return Err(HeaderError::NoSuchKeyColumn(computed.key_of[missing].clone()));
        }
        let field = |column: &Column| {
            let name = column.name.to_lowercase();
            if name == computed.key_column.to_lowercase() {
                return Ok(Field::Key);
            }
            let position = names.iter().position(|cell| *cell == name);
            let position = position.ok_or_else(|| HeaderError::Missing(column.name.clone()))?;
            let key_part = key_of.iter().position(|part| *part == name);
            Ok(Field::Cell { position, column_type: column.column_type, key_part })
        };
        let columns = without_filename(columns, computed);
        Ok(Self {
            fields: columns.iter().map(field).collect::<Result<_, _>>()?,
            columns,
            width: names.len(),
            time_position: names.iter().position(|name| *name == time_column.to_lowercase()),
            text: Vec::new(),
            key_parts: vec![0..0; key_of.len()],
        })
    }

    /// Appends `record` to `tuple` as one tuple of binary COPY. After an error, the caller must discard what was
    /// appended.
    pub fn encode(&mut self, record: &ByteRecord, tuple: &mut Vec<u8>) -> Result<Encoded, RowError> {
        if record.len() != self.width {
            return Err(RowError::Width { found: record.len(), expected: self.width });
        }
        self.text.clear();
        let (mut key_start, mut time) = (0, None);
        tuple.extend_from_slice(&(self.fields.len() as i16).to_be_bytes());
        for (index, field) in self.fields.iter().enumerate() {
            match field {
                Field::Key => {
                    // placeholder: the key is known only after all cells are encoded
                    tuple.extend_from_slice(&(KEY_LENGTH as i32).to_be_bytes());
                    key_start = tuple.len();
                    tuple.resize(key_start + KEY_LENGTH, 0);
                }
                Field::Cell { position, column_type, key_part } => {
                    let start = self.text.len();
                    let cell = &record[*position];
                    let text = key_part.is_some().then_some(&mut self.text);
                    column_type.encode(cell, tuple, text).map_err(|error| RowError::Cell {
                        column: self.columns[index].name.clone(),
                        text: excerpt(cell),
                        error,
                    })?;
                    if self.time_position == Some(*position) {
                        time = timestamp_at_end(cell, tuple);
                    }
                    if let Some(part) = key_part {
                        self.key_parts[*part] = start..self.text.len();
                    }
                }
            }
        }
        let key = RowKey::of(self.key_parts.iter().map(|part| &self.text[part.clone()]));
        tuple[key_start..key_start + KEY_LENGTH].copy_from_slice(&key.text());
        Ok(Encoded { key, time })
    }
}

/// The columns that have a field in the row: all except the file name.
pub fn without_filename(columns: &[Column], computed: &Computed) -> Vec<Column> {
    let is_filename = |column: &Column| column.name.to_lowercase() == computed.filename_column.to_lowercase();
    columns.iter().filter(|column| !is_filename(column)).cloned().collect()
}

/// The timestamp that `cell` was just encoded to, at the end of `tuple`.
fn timestamp_at_end(cell: &[u8], tuple: &[u8]) -> Option<Timestamp> {
    if cell.is_empty() {
        return None;
    }
    tuple.last_chunk().map(|value| Timestamp(i64::from_be_bytes(*value)))
}

/// Up to forty characters of a cell, for error messages.
fn excerpt(cell: &[u8]) -> String {
    const LIMIT: usize = 40;
    let text = String::from_utf8_lossy(cell);
    match text.char_indices().nth(LIMIT) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Vec<Column> {
        let column = |name: &str, column_type| Column { name: name.to_owned(), column_type };
        vec![
            column("key", ColumnType::Text),
            column("file", ColumnType::Text),
            column("a", ColumnType::Text),
            column("b", ColumnType::Double),
        ]
    }

    fn encoder(header: &[&str]) -> Result<RowEncoder, HeaderError> {
        let computed = Computed {
            key_column: "key".to_owned(),
            key_of: vec!["B".to_owned(), "A".to_owned()],
            filename_column: "file".to_owned(),
        };
        RowEncoder::new(&columns(), &computed, "at", &ByteRecord::from(header.to_vec()))
    }

    #[test]
    fn matches_the_header_by_name_in_any_order_and_case() {
        let mut forward = encoder(&["A", "B"]).unwrap();
        let mut backward = encoder(&["b", "a"]).unwrap();
        let (mut first, mut second) = (Vec::new(), Vec::new());
        forward.encode(&ByteRecord::from(vec!["x", "1.50"]), &mut first).unwrap();
        backward.encode(&ByteRecord::from(vec!["1.50", "x"]), &mut second).unwrap();
        assert_eq!(first, second);
        assert!(first.windows(KEY_LENGTH).any(|text| text == RowKey::of([&b"1.5x"[..]].into_iter()).text()));
    }

    #[test]
    fn refuses_a_header_that_does_not_match_the_table() {
        let refusal = |header: &[&str]| encoder(header).err().map(|error| error.to_string());
        assert_eq!(
            refusal(&["a"]),
            Some("the row key uses the column \"B\", which the file does not have".into())
        );
        let unknown = |name: &str| {
            format!(
                "unknown column {name:?} at position 3 of the header: no column of the table is loaded from it"
            )
        };
        assert_eq!(refusal(&["a", "b", "c"]), Some(unknown("c")));
        assert_eq!(
            refusal(&["a", "b", "A"]),
            Some("duplicate column \"A\" at position 3 of the header".into())
        );
        assert_eq!(refusal(&["a", "b", "key"]), Some(unknown("key")));
    }

    #[test]
    fn refuses_a_row_of_the_wrong_width_or_type() {
        let mut encoder = encoder(&["a", "b"]).unwrap();
        let mut refusal =
            |cells: Vec<&str>| encoder.encode(&ByteRecord::from(cells), &mut Vec::new()).unwrap_err();
        assert_eq!(refusal(vec!["x"]), RowError::Width { found: 1, expected: 2 });
        assert_eq!(
            refusal(vec!["x", "y"]).to_string(),
            "invalid value \"y\" in column \"b\": expected a value of type double precision"
        );
    }
}
