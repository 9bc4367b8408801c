//! Converts one row of a file to one row of binary COPY: the cells and the row key, in table order. The row has no
//! field for the file name: it is the same for all rows, so the staging table supplies it as a column default.
//!
//! In: the table's columns, the columns of the file and the key columns, matched by name once per file. Out: bytes.
//! A column that the file does not have gets no field, and so its default. Refused: a column that the table does not
//! have (unless it is [ignored](Layout::ignored)), a row of the wrong width, a cell of the wrong type.

use std::ops::Range;

use jiff::tz::TimeZone;

use super::cell;
use super::row_key::{KEY_LENGTH, RowKey};
use super::timestamp::Timestamp;
use super::value::{CellError, ColumnType};
use crate::extract::rows::{Cell, FileColumn, Row};

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
    /// Whether an empty cell is refused.
    pub not_null: bool,
}

/// How the cells of a file map to the columns of a table.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The columns to fill. Columns that the file does not have get no field.
    pub columns: Vec<Column>,
    /// The columns that are computed.
    pub computed: Computed,
    /// The column that holds a row's time.
    pub time_column: String,
    /// The time zone of the file's times, for columns of the type `timestamp with time zone`.
    pub time_zone: TimeZone,
    /// The names of the file's columns that are left out, in lower case.
    pub ignored: Vec<String>,
}

/// Columns of a file that do not match the table.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The file has a column that no column of the table is loaded from.
    #[error("unknown column {name:?} at position {position}: no column of the table is loaded from it")]
    Unknown {
        /// Position in the file, counted from 1.
        position: usize,
        /// The name as the file spells it.
        name: String,
    },
    /// The file has a column with the name of a column that is computed.
    #[error("the column {name:?} at position {position} has the name of a column that taxi computes")]
    Computed {
        /// Position in the file, counted from 1.
        position: usize,
        /// The name as the file spells it.
        name: String,
    },
    /// The file has a name twice.
    #[error("duplicate column {name:?} at position {position}")]
    Repeated {
        /// Position in the file, counted from 1.
        position: usize,
        /// The name as the file spells it.
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
    /// The row is longer than any real one.
    #[error("the row is longer than 1 MiB")]
    Long,
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
    Cell { position: usize, column_type: ColumnType, not_null: bool, key_part: Option<usize> },
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
    /// The columns that have a field.
    columns: Vec<Column>,
    fields: Vec<Field>,
    width: usize,
    /// Position of the cell that holds the row's time.
    time_position: Option<usize>,
    time_zone: TimeZone,
    /// The text of the key's cells, concatenated, and the range of each part in it.
    text: Vec<u8>,
    key_parts: Vec<Range<usize>>,
    rows_with_extra_cells: u64,
}

impl RowEncoder {
    /// Matches the columns of the file with those of the table by their names.
    pub fn new(layout: &Layout, file: &[FileColumn]) -> Result<Self, HeaderError> {
        let Layout { computed, time_column, .. } = layout;
        let names: Vec<&str> = file.iter().map(|column| column.name.as_str()).collect();
        if let Some(error) = layout.refuse(file) {
            return Err(error);
        }
        let key_of: Vec<String> = computed.key_of.iter().map(|name| name.to_lowercase()).collect();
        if let Some(missing) = key_of.iter().position(|name| !names.contains(&name.as_str())) {
            return Err(HeaderError::NoSuchKeyColumn(computed.key_of[missing].clone()));
        }
        let field = |column: &Column| {
            let name = column.name.to_lowercase();
            if name == computed.key_column.to_lowercase() {
                return Some(Field::Key);
            }
            let position = names.iter().position(|cell| *cell == name)?;
            let key_part = key_of.iter().position(|part| *part == name);
            let Column { column_type, not_null, .. } = *column;
            Some(Field::Cell { position, column_type, not_null, key_part })
        };
        let with_fields = without_filename(&layout.columns, computed)
            .into_iter()
            .filter_map(|column| field(&column).map(|field| (column, field)));
        let (columns, fields) = with_fields.unzip();
        Ok(Self {
            columns,
            fields,
            width: names.len(),
            time_position: names.iter().position(|name| *name == time_column.to_lowercase()),
            time_zone: layout.time_zone.clone(),
            text: Vec::new(),
            key_parts: vec![0..0; key_of.len()],
            rows_with_extra_cells: 0,
        })
    }

    /// The positions of the file's cells that the rows need.
    pub(crate) fn positions(&self) -> Vec<usize> {
        let position = |field: &Field| match field {
            Field::Key => None,
            Field::Cell { position, .. } => Some(*position),
        };
        self.fields.iter().filter_map(position).collect()
    }

    /// Number of rows that had more cells than the header, all of them empty. Some published files have such rows.
    pub fn rows_with_extra_cells(&self) -> u64 {
        self.rows_with_extra_cells
    }

    /// Appends `row` to `tuple` as one tuple of binary COPY. After an error, the caller must discard what was appended.
    pub fn encode(&mut self, row: &impl Row, tuple: &mut Vec<u8>) -> Result<Encoded, RowError> {
        if row.width() != self.width {
            self.check_width(row)?;
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
                Field::Cell { position, column_type, not_null, key_part } => {
                    let start = self.text.len();
                    let mut cell = row.cell(*position);
                    let mut instant = None;
                    if *column_type == ColumnType::TimestampTz {
                        (cell, instant) = local(cell, &self.time_zone);
                    }
                    let text = key_part.is_some().then_some(&mut self.text);
                    let encoded = match *not_null && matches!(cell, Cell::Null) {
                        true => Err(CellError::IsNull),
                        false => column_type.encode(cell, tuple, text),
                    };
                    encoded.map_err(|error| RowError::Cell {
                        column: self.columns[index].name.clone(),
                        text: excerpt(cell),
                        error,
                    })?;
                    if self.time_position == Some(*position) {
                        time = timestamp_at_end(cell, tuple);
                    }
                    if *column_type == ColumnType::TimestampTz {
                        convert_at_end(cell, instant, tuple, &self.time_zone);
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

    /// Checks a row that does not have as many cells as the file has columns: cells after the last one must be empty.
    fn check_width(&mut self, row: &impl Row) -> Result<(), RowError> {
        let found = row.width();
        if found < self.width || (self.width..found).any(|position| !matches!(row.cell(position), Cell::Null))
        {
            return Err(RowError::Width { found, expected: self.width });
        }
        self.rows_with_extra_cells += 1;
        Ok(())
    }
}

impl Layout {
    /// A layout without a time zone: times are in UTC. A file with columns that the table does not have is refused.
    pub fn new(columns: Vec<Column>, computed: Computed, time_column: &str) -> Self {
        let time_column = time_column.to_owned();
        Self { columns, computed, time_column, time_zone: TimeZone::UTC, ignored: Vec::new() }
    }

    /// The error for a file whose columns do not match, if there is one.
    fn refuse(&self, file: &[FileColumn]) -> Option<HeaderError> {
        let Computed { key_column, filename_column, .. } = &self.computed;
        let is_computed =
            |name: &str| name == key_column.to_lowercase() || name == filename_column.to_lowercase();
        file.iter().enumerate().find_map(|(index, FileColumn { spelling, name, .. })| {
            let (position, spelling) = (index + 1, || spelling.clone());
            let is_ignored = self.ignored.contains(name);
            if file[..index].iter().any(|other| other.name == *name) && !(name.is_empty() && is_ignored) {
                return Some(HeaderError::Repeated { position, name: spelling() });
            }
            let is_known = self.columns.iter().any(|column| column.name.to_lowercase() == *name);
            if is_computed(name) {
                return Some(HeaderError::Computed { position, name: spelling() });
            }
            (!is_known && !is_ignored).then(|| HeaderError::Unknown { position, name: spelling() })
        })
    }
}

/// The columns that have a field in the row: all except the file name.
pub fn without_filename(columns: &[Column], computed: &Computed) -> Vec<Column> {
    let is_filename = |column: &Column| column.name.to_lowercase() == computed.filename_column.to_lowercase();
    columns.iter().filter(|column| !is_filename(column)).cloned().collect()
}

/// The timestamp that `cell` was just encoded to, at the end of `tuple`.
fn timestamp_at_end(cell: Cell<'_>, tuple: &[u8]) -> Option<Timestamp> {
    if matches!(cell, Cell::Null) {
        return None;
    }
    tuple.last_chunk().map(|value| Timestamp(i64::from_be_bytes(*value)))
}

/// A point in time as the local time of the `zone`, and the point itself. Other cells stay as they are.
fn local<'a>(cell: Cell<'a>, zone: &TimeZone) -> (Cell<'a>, Option<Timestamp>) {
    match cell {
        Cell::Instant(at) => (Cell::Timestamp(Timestamp(at).local_in(zone).0), Some(Timestamp(at))),
        other => (other, None),
    }
}

/// Converts the local time that `cell` was just encoded to, at the end of `tuple`, to the server's UTC time: to the
/// `instant` if it is known.
fn convert_at_end(cell: Cell<'_>, instant: Option<Timestamp>, tuple: &mut [u8], zone: &TimeZone) {
    if let Some(local) = timestamp_at_end(cell, tuple)
        && let Some(value) = tuple.last_chunk_mut::<8>()
    {
        *value = instant.unwrap_or_else(|| local.in_zone(zone)).0.to_be_bytes();
    }
}

/// Up to forty characters of a cell, for error messages.
fn excerpt(cell: Cell<'_>) -> String {
    const LIMIT: usize = 40;
    let mut text = Vec::new();
    cell::append_text(cell, &mut text);
    let text = String::from_utf8_lossy(&text);
    match text.char_indices().nth(LIMIT) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::csv::records::Record;

    fn columns() -> Vec<Column> {
        let column = |name: &str, column_type| Column { name: name.to_owned(), column_type, not_null: false };
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
        let file: Vec<FileColumn> = header.iter().map(|name| FileColumn::new(name)).collect();
        RowEncoder::new(&Layout::new(columns(), computed, "at"), &file)
    }

    #[test]
    fn matches_the_header_by_name_in_any_order_and_case() {
        let mut forward = encoder(&["A", "B"]).unwrap();
        let mut backward = encoder(&["b", "a"]).unwrap();
        let (mut first, mut second) = (Vec::new(), Vec::new());
        forward.encode(&Record::from_iter(["x", "1.50"]), &mut first).unwrap();
        backward.encode(&Record::from_iter(["1.50", "x"]), &mut second).unwrap();
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
            format!("unknown column {name:?} at position 3: no column of the table is loaded from it")
        };
        assert_eq!(refusal(&["a", "b", "c"]), Some(unknown("c")));
        assert_eq!(refusal(&["a", "b", "A"]), Some("duplicate column \"A\" at position 3".into()));
        assert!(refusal(&["a", "b", "key"]).unwrap().contains("the name of a column that taxi computes"));
    }

    #[test]
    fn refuses_a_row_of_the_wrong_width_or_type() {
        let mut encoder = encoder(&["a", "b"]).unwrap();
        let mut refusal =
            |cells: Vec<&str>| encoder.encode(&Record::from_iter(cells), &mut Vec::new()).unwrap_err();
        assert_eq!(refusal(vec!["x"]), RowError::Width { found: 1, expected: 2 });
        assert_eq!(refusal(vec!["x", "1", "", "2"]), RowError::Width { found: 4, expected: 2 });
        assert_eq!(
            refusal(vec!["x", "y"]).to_string(),
            "invalid value \"y\" in column \"b\": expected a value of type double precision"
        );
    }
}
