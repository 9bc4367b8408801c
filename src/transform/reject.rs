//! A rejected record: it does not fit the table, and is kept for a person to inspect.

use super::cell;
use super::row::RowError;
use crate::extract::rows::Row;

/// Maximum number of characters kept of a record's text.
const TEXT_LIMIT_CHARS: usize = 1000;
/// Upper limit for the number of rejects that may be allowed: they are kept in memory until the load ends.
pub(crate) const MAX_REJECTS: u32 = 10_000;

/// A record that was rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reject {
    /// The line on which the record begins, or the number of the row.
    pub(crate) line: u64,
    /// The column whose cell is invalid; `None` if the record as a whole is.
    pub(crate) column: Option<String>,
    /// Why the record was rejected.
    pub(crate) reason: String,
    /// The record's text, truncated.
    pub(crate) text: String,
}

impl Reject {
    /// Describes the `row` on `line`, rejected because of `error`.
    pub(crate) fn new(line: u64, row: &impl Row, error: RowError) -> Self {
        let (column, reason) = match error {
            RowError::Width { .. } | RowError::Long => (None, error.to_string()),
            RowError::Cell { column, error, .. } => (Some(column), error.to_string()),
        };
        Self { line, column, reason, text: text(row) }
    }
}

/// Formats the row as a line of CSV. A replacement character replaces anything that the server's text cannot
/// hold.
fn text(row: &impl Row) -> String {
    let mut line = String::new();
    for position in 0..row.width() {
        if position > 0 {
            line.push(',');
        }
        let mut cell_text = Vec::new();
        cell::append_text(row.cell(position), &mut cell_text);
        let cell = String::from_utf8_lossy(&cell_text).replace('\0', "\u{fffd}");
        if cell.contains(['"', ',', '\n', '\r']) {
            line.push_str(&format!("\"{}\"", cell.replace('"', "\"\"")));
        } else {
            line.push_str(&cell);
        }
        if line.len() > 4 * TEXT_LIMIT_CHARS {
            break;
        }
    }
    match line.char_indices().nth(TEXT_LIMIT_CHARS) {
        Some((cut, _)) => format!("{}…", &line[..cut]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::csv::records::Record;

    #[test]
    fn the_text_is_the_original_line_and_is_truncated() {
        let reject = |cells: &[&[u8]]| {
            let record = Record::from_iter(cells);
            Reject::new(7, &record, RowError::Width { found: cells.len(), expected: 1 })
        };
        let whole = reject(&[b"1", b"a,b", b"say \"no\"", b"", b"\xff\0"]);
        assert_eq!(whole.text, "1,\"a,b\",\"say \"\"no\"\"\",,\u{fffd}\u{fffd}");
        assert_eq!((whole.line, whole.column), (7, None));
        let long = "é".repeat(5000);
        assert_eq!(reject(&[long.as_bytes(), b"x"]).text.chars().count(), TEXT_LIMIT_CHARS + 1);
        let wide = vec![&b"x"[..]; 100_000];
        assert_eq!(reject(&wide).text.chars().count(), TEXT_LIMIT_CHARS + 1);
    }
}
