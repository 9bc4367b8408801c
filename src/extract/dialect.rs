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

/// The state of the scan between two chunks.
#[derive(Debug, Default)]
pub(crate) struct Dialect {
    place: CellState,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineEnd {
    Lf,
    CrLf,
}

/// CSV that the parser and the server would read differently, with its line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub(crate) struct DialectError {
    line: u64,
    what: &'static str,
}

impl DialectError {
    /// Converts this into an error that names the file by `address`.
    pub(crate) fn in_file(self, address: &str) -> Error {
        Error::new(Kind::Data, format!("{address}, line {}: {}", self.line, self.what))
    }
}

impl Dialect {
    /// Scans the next chunk of the file.
    pub(crate) fn check(&mut self, chunk: &[u8]) -> Result<(), DialectError> {
        let mut rest = chunk;
        while let Some(first) = rest.first() {
            let skipped = match self.place {
                CellState::Unquoted => memchr3(b'"', b'\r', b'\n', rest),
                CellState::Quoted => memchr(b'"', rest),
                CellState::AfterCarriageReturn | CellState::AfterQuote => Some(0),
            };
            let plain = &rest[..skipped.unwrap_or(rest.len())];
            if self.place == CellState::Quoted {
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
        match self.place {
            CellState::Unquoted => Ok(()),
            CellState::AfterQuote => self.close_quoted_cell(),
            CellState::Quoted => self.refuse("the quoted cell is never closed"),
            CellState::AfterCarriageReturn => {
                self.refuse("the file ends in a carriage return without a line feed")
            }
        }
    }

    fn step(&mut self, byte: u8) -> Result<(), DialectError> {
        match (self.place, byte) {
            (CellState::Unquoted, b'"') => {
                if self.position != self.line_start && self.previous != Some(b',') {
                    return self.refuse("a quote inside a cell that does not begin with one");
                }
                self.quoted_from = self.position + 1;
                self.place = CellState::Quoted;
            }
            (CellState::Quoted, _) => self.place = CellState::AfterQuote,
            (CellState::AfterQuote, b'"') => self.place = CellState::Quoted,
            (CellState::AfterQuote, b',') => {
                self.close_quoted_cell()?;
                self.place = CellState::Unquoted;
            }
            (CellState::AfterQuote, b'\r' | b'\n') => {
                self.close_quoted_cell()?;
                self.end_line(byte)?;
            }
            (CellState::AfterQuote, _) => return self.refuse("text behind the closing quote of a cell"),
            (CellState::AfterCarriageReturn, b'\n') => self.next_line(LineEnd::CrLf)?,
            (CellState::AfterCarriageReturn, _) => {
                return self.refuse("a carriage return without a line feed");
            }
            (CellState::Unquoted, _) => self.end_line(byte)?,
        }
        Ok(())
    }

    fn end_line(&mut self, byte: u8) -> Result<(), DialectError> {
        if self.position == self.line_start {
            return self.refuse("the line is blank");
        }
        if byte == b'\r' {
            self.place = CellState::AfterCarriageReturn;
            return Ok(());
        }
        self.next_line(LineEnd::Lf)
    }

    fn next_line(&mut self, line_end: LineEnd) -> Result<(), DialectError> {
        if *self.line_end.get_or_insert(line_end) != line_end {
            return self.refuse("the line ends in another way than those before it (LF or CR LF)");
        }
        self.lines += 1;
        self.line_start = self.position + 1;
        self.place = CellState::Unquoted;
        Ok(())
    }

    fn close_quoted_cell(&self) -> Result<(), DialectError> {
        // the closing quote is the byte before this one
        if self.quoted_from + 1 == self.position {
            return self.refuse("a quoted empty cell, which would be an empty text and not NULL");
        }
        Ok(())
    }

    fn refuse(&self, what: &'static str) -> Result<(), DialectError> {
        Err(DialectError { line: self.lines + 1, what })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the refusal of `text`, and asserts that it does not depend on the chunk boundaries.
    fn refusal(text: &str) -> Option<(u64, &'static str)> {
        let scan = |chunk_size: usize| {
            let mut dialect = Dialect::default();
            let chunks = text.as_bytes().chunks(chunk_size);
            let result = chunks.map(|chunk| dialect.check(chunk)).find(Result::is_err).unwrap_or(Ok(()));
            result.and_then(|()| dialect.finish()).err().map(|error| (error.line, error.what))
        };
        let whole = scan(text.len().max(1));
        for chunk_size in 1..text.len() {
            assert_eq!(scan(chunk_size), whole, "cut into chunks of {chunk_size}: {text:?}");
        }
        whole
    }

    #[test]
    fn takes_what_both_parsers_read_alike() {
        for text in [
            "",
            "a,b\n1,2\n",
            "a,b\r\n1,2\r\n",
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
    fn refuses_what_they_read_differently_at_its_line() {
        for (text, line, what) in [
            ("a,b\n\n1,2\n", 2, "blank"),
            ("a,b\r\n\r\n1,2\r\n", 2, "blank"),
            ("a,b\r\n1,2\n", 2, "another way"),
            ("a,b\n1,2\r\n", 2, "another way"),
            ("a,b\r1,2\r", 1, "without a line feed"),
            ("a,b\n1,2\r", 2, "ends in a carriage return"),
            ("a,b\n1,x\"y\n", 2, "inside a cell"),
            ("a,b\n1,\"x\"y\n", 2, "behind the closing quote"),
            ("a,b\n1,\"two\nlines\n", 2, "never closed"),
            ("a,b\n1,\"\"\n", 2, "quoted empty"),
            ("a,b\n1,\"\"", 2, "quoted empty"),
            ("a,b\n\"\",1\n", 2, "quoted empty"),
        ] {
            let (at, why) = refusal(text).unwrap_or_else(|| panic!("accepted: {text:?}"));
            // inside a quoted cell, the error names the current line, not the line on which the cell begins
            assert!(at == line || text.contains("two"), "{text:?}: line {at}");
            assert!(why.contains(what), "{text:?}: {why}");
        }
    }

    #[test]
    fn refuses_a_line_that_does_not_end() {
        let mut dialect = Dialect::default();
        let chunk = [b'x'; 64 * 1024];
        let refused = (0..32).map(|_| dialect.check(&chunk)).find(Result::is_err);
        assert!(refused.unwrap().unwrap_err().to_string().contains("longer than 1 MiB"));
    }
}
