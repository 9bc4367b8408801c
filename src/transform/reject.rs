//! A record that is no row of the table, for people to look at.

use csv_async::ByteRecord;

use super::row::RowError;

/// No more of a record's text is kept.
const TEXT_LIMIT_CHARS: usize = 1000;
/// So many may be allowed: they are kept in memory until the load ends.
pub const MOST: u32 = 10_000;

/// A record that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// The line on which it begins.
    pub line: u64,
    /// The column that does not take its cell, where it is not the record as a whole.
    pub column: Option<String>,
    /// Why it was left out.
    pub reason: String,
    /// Its text, cut.
    pub text: String,
}

impl Reject {
    /// The `record` on `line`, left out because of `error`.
    pub fn new(line: u64, record: &ByteRecord, error: RowError) -> Self {
        let (column, reason) = match error {
            RowError::Width { .. } => (None, error.to_string()),
            RowError::Cell { column, error, .. } => (Some(column), error.to_string()),
        };
        Self { line, column, reason, text: text(record) }
    }
}

/// The record as a line of CSV, with a replacement character for what is no text to the server.
fn text(record: &ByteRecord) -> String {
    let mut line = String::new();
    for (index, cell) in record.iter().enumerate() {
        if index > 0 {
            line.push(',');
        }
        let cell = String::from_utf8_lossy(cell).replace('\0', "\u{fffd}");
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

    #[test]
    fn the_text_is_the_line_as_it_was_and_bounded() {
        let reject = |cells: &[&[u8]]| {
            let record = ByteRecord::from(cells.to_vec());
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
