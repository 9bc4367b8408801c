//! Accepts only CSV that the parser here and the server's `COPY … (FORMAT csv)` read the same way.
//!
//! The two differ on unusual files. The parser skips blank lines, accepts any line ending, reads a quote inside an
//! unquoted cell as a literal character, and tolerates a quote that is never closed. It also cannot distinguish
//! `""` (an empty string to the server) from an empty cell (NULL). A row would be lost or altered silently. The
//! raw bytes are therefore scanned for these cases, at about 5 GB/s where there are no quotes.
//!
//! The scan also limits the length of a line, which bounds the parser's buffer.

use memchr::{memchr, memchr_iter, memchr3};

use crate::error::{Error, Kind};

/// Maximum length of a line. The longest line of a real file has 160 bytes.
const LINE_LIMIT_BYTES: u64 = 1024 * 1024;

/// What to do with blank lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum BlankLines {
    /// Refuse the file, as the server does for a table with several columns.
    #[default]
    Refuse,
    /// Skip the lines. Some published files have a blank second line.
    Skip,
}

/// The state of the scan between two chunks.
#[derive(Debug, Default)]
pub(crate) struct Dialect {
    blank_lines: BlankLines,
    state: CellState,
    header_end: Option<LineEnd>,
    /// How the lines after the header end. In some published files, LF ends the header and CR LF the other lines.
    line_end: Option<LineEnd>,
    /// Number of line ends so far.
    lines: u64,
    position: u64,
    line_start: u64,
    /// Position at which the content of the current quoted cell begins.
    quoted_from: u64,
    previous: Option<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum CellState {
    #[default]
    Unquoted,
    AfterCarriageReturn,
    Quoted,
    AfterQuote,
}

/// How a line ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineEnd {
    /// A line feed.
    Lf,
    /// A carriage return and a line feed.
    CrLf,
}

/// An error about CSV that the parser and the server would read differently, with the line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct DialectError {
    line: u64,
    message: &'static str,
    hint: Option<&'static str>,
}

impl DialectError {
    /// Converts this into an error that names the file by `address`.
    pub(crate) fn in_file(self, address: &str) -> Error {
        let error = Error::new(Kind::Data, format!("{address}, line {}: {}", self.line, self.message));
        match self.hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

impl Dialect {
    /// Starts a scan.
    pub(crate) fn new(blank_lines: BlankLines) -> Self {
        Self { blank_lines, ..Self::default() }
    }

    /// Whether the file ends with a line end.
    pub(crate) fn ends_with_line_end(&self) -> bool {
        self.position == self.line_start
    }

    /// Scans the next chunk of the file.
    pub(crate) fn check(&mut self, chunk: &[u8]) -> Result<(), DialectError> {
        let mut rest = chunk;
        while let Some(first) = rest.first() {
            let skipped = match self.state {
                CellState::Unquoted => memchr3(b'"', b'\r', b'\n', rest),
                CellState::Quoted => memchr(b'"', rest),
                CellState::AfterCarriageReturn | CellState::AfterQuote => Some(0),
            };
            let plain = &rest[..skipped.unwrap_or(rest.len())];
            if self.state == CellState::Quoted {
                self.lines += memchr_iter(b'\n', plain).count() as u64;
            }
            if let Some(last) = plain.last() {
                self.previous = Some(*last);
                self.position += plain.len() as u64;
            }
            if self.position - self.line_start > LINE_LIMIT_BYTES {
                return self.refuse("the line is longer than 1 MiB");
            }
            let Some(skipped) = skipped else { return Ok(()) };
            let byte = if skipped == 0 { *first } else { rest[skipped] };
            self.step(byte)?;
            self.previous = Some(byte);
            self.position += 1;
            rest = &rest[skipped + 1..];
        }
        Ok(())
    }

    /// Ends the scan: checks that the file does not end inside a quoted cell or a line ending.
    pub(crate) fn finish(&self) -> Result<(), DialectError> {
        match self.state {
            CellState::Unquoted => Ok(()),
            CellState::AfterQuote => self.close_quoted_cell(),
            CellState::Quoted => self.refuse("the quoted cell has no closing quote"),
            CellState::AfterCarriageReturn => {
                self.refuse("the file ends with a carriage return without a line feed")
            }
        }
    }

    fn step(&mut self, byte: u8) -> Result<(), DialectError> {
        match (self.state, byte) {
            (CellState::Unquoted, b'"') => {
                if self.position != self.line_start && self.previous != Some(b',') {
                    return self.refuse("found a quote inside an unquoted cell");
                }
                self.quoted_from = self.position + 1;
                self.state = CellState::Quoted;
            }
            (CellState::Quoted, _) => self.state = CellState::AfterQuote,
            (CellState::AfterQuote, b'"') => self.state = CellState::Quoted,
            (CellState::AfterQuote, b',') => {
                self.close_quoted_cell()?;
                self.state = CellState::Unquoted;
            }
            (CellState::AfterQuote, b'\r' | b'\n') => {
                self.close_quoted_cell()?;
                self.end_line(byte)?;
            }
            (CellState::AfterQuote, _) => return self.refuse("found text after the closing quote of a cell"),
            (CellState::AfterCarriageReturn, b'\n') => self.next_line(LineEnd::CrLf)?,
            (CellState::AfterCarriageReturn, _) => {
                return self.refuse("found a carriage return without a line feed");
            }
            (CellState::Unquoted, _) => self.end_line(byte)?,
        }
        Ok(())
    }

    fn end_line(&mut self, byte: u8) -> Result<(), DialectError> {
        if self.position == self.line_start && self.blank_lines == BlankLines::Refuse {
            let error = DialectError {
                hint: Some("use --blank-lines skip to skip blank lines"),
                ..self.error("the line is blank")
            };
            return Err(error);
        }
        if byte == b'\r' {
            self.state = CellState::AfterCarriageReturn;
            return Ok(());
        }
        self.next_line(LineEnd::Lf)
    }

    fn next_line(&mut self, line_end: LineEnd) -> Result<(), DialectError> {
        let is_expected = match self.header_end {
            None => {
                self.header_end = Some(line_end);
                true
            }
            Some(LineEnd::CrLf) if line_end == LineEnd::Lf => false,
            Some(_) => *self.line_end.get_or_insert(line_end) == line_end,
        };
        if !is_expected {
            return self.refuse("the line ending differs from the line endings before it (LF or CR LF)");
        }
        self.lines += 1;
        self.line_start = self.position + 1;
        self.state = CellState::Unquoted;
        Ok(())
    }

    fn close_quoted_cell(&self) -> Result<(), DialectError> {
        // the closing quote is the byte before this one
        if self.quoted_from + 1 == self.position {
            return self.refuse(
                "found a quoted empty cell, which PostgreSQL reads as an empty string and not as NULL",
            );
        }
        Ok(())
    }

    fn refuse(&self, message: &'static str) -> Result<(), DialectError> {
        Err(self.error(message))
    }

    fn error(&self, message: &'static str) -> DialectError {
        DialectError { line: self.lines + 1, message, hint: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the error for `text`, and asserts that it does not depend on the chunk boundaries.
    fn refusal(text: &str) -> Option<(u64, &'static str)> {
        let scan = |chunk_size: usize| {
            let mut dialect = Dialect::default();
            let chunks = text.as_bytes().chunks(chunk_size);
            let result = chunks.map(|chunk| dialect.check(chunk)).find(Result::is_err).unwrap_or(Ok(()));
            result.and_then(|()| dialect.finish()).err().map(|error| (error.line, error.message))
        };
        let whole = scan(text.len().max(1));
        for chunk_size in 1..text.len() {
            assert_eq!(scan(chunk_size), whole, "cut into chunks of {chunk_size}: {text:?}");
        }
        whole
    }

    #[test]
    fn accepts_csv_that_both_parsers_read_the_same_way() {
        for text in [
            "",
            "a,b\n1,2\n",
            "a,b\r\n1,2\r\n",
            "a,b\n1,2\r\n3,4\r\n",
            "a,b\n1,2",
            "a,b\n\"1\",\"x\"\"y\"\n",
            "a,b\n1,\"two\nlines\"\n3,4\n",
            "a,b\n\"1\",\"\"\"\"",
            "a\n\"x\"",
        ] {
            assert_eq!(refusal(text), None, "{text:?}");
        }
    }

    #[test]
    fn refuses_csv_that_the_parsers_read_differently_and_names_the_line() {
        for (text, line, part) in [
            ("a,b\n\n1,2\n", 2, "blank"),
            ("a,b\r\n\r\n1,2\r\n", 2, "blank"),
            ("a,b\r\n1,2\n", 2, "differs from the line endings"),
            ("a,b\n1,2\r\n3,4\n", 3, "differs from the line endings"),
            ("a,b\n1,2\n3,4\r\n", 3, "differs from the line endings"),
            ("a,b\r1,2\r", 1, "without a line feed"),
            ("a,b\n1,2\r", 2, "ends with a carriage return"),
            ("a,b\n1,x\"y\n", 2, "inside an unquoted cell"),
            ("a,b\n1,\"x\"y\n", 2, "after the closing quote"),
            ("a,b\n1,\"two\nlines\n", 2, "no closing quote"),
            ("a,b\n1,\"\"\n", 2, "quoted empty"),
            ("a,b\n1,\"\"", 2, "quoted empty"),
            ("a,b\n\"\",1\n", 2, "quoted empty"),
        ] {
            let (found_line, message) = refusal(text).unwrap_or_else(|| panic!("accepted: {text:?}"));
            // inside a quoted cell, the error names the current line, not the line on which the cell begins
            assert!(found_line == line || text.contains("two"), "{text:?}: line {found_line}");
            assert!(message.contains(part), "{text:?}: {message}");
        }
    }

    #[test]
    fn blank_lines_are_skipped_only_if_asked_for() {
        for text in ["a,b\n\n1,2\n", "a,b\r\n\r\n\r\n1,2\r\n", "a,b\n\r\n1,2\r\n"] {
            assert_eq!(refusal(text), Some((2, "the line is blank")), "{text:?}");
            let mut dialect = Dialect::new(BlankLines::Skip);
            assert_eq!(dialect.check(text.as_bytes()).and_then(|()| dialect.finish()), Ok(()), "{text:?}");
        }
    }

    #[test]
    fn refuses_a_line_longer_than_the_limit() {
        let mut dialect = Dialect::default();
        let chunk = [b'x'; 64 * 1024];
        let refused = (0..32).map(|_| dialect.check(&chunk)).find(Result::is_err);
        assert!(refused.unwrap().unwrap_err().to_string().contains("longer than 1 MiB"));
    }
}
