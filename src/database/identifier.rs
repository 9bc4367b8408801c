//! SQL names: always quoted before they reach a statement.

use std::fmt;

use crate::error::{Error, Kind, Result};

/// PostgreSQL truncates longer names, and two truncated names could be the same.
pub(crate) const NAME_LIMIT_BYTES: usize = 63;

/// Quotes one identifier: `a"b` becomes `"a""b"`.
pub(crate) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes a value for a statement that takes no parameters: `it's` becomes `E'it''s'`. Backslashes are doubled.
pub(crate) fn literal(value: &str) -> String {
    format!("E'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
}

/// A table's name, with or without its schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableName {
    parts: Vec<String>,
}

impl TableName {
    /// Reads `schema.table` as SQL does: unquoted parts are folded to lower case, quoted ones are kept.
    pub fn parse(text: &str) -> Result<Self> {
        let invalid = || {
            let text = format!("invalid table name {text:?}: expected a name like schema.table");
            Error::new(Kind::Configuration, text)
        };
        let mut parts = Vec::new();
        let mut rest = text.trim();
        loop {
            let (part, after) = if let Some(quoted) = rest.strip_prefix('"') {
                read_quoted(quoted).ok_or_else(invalid)?
            } else {
                let end = rest.find('.').unwrap_or(rest.len());
                (rest[..end].to_lowercase(), &rest[end..])
            };
            if part.is_empty() || part.contains('\0') {
                return Err(invalid());
            }
            parts.push(part);
            match after.strip_prefix('.') {
                Some(next) if parts.len() < 2 => rest = next,
                None if after.is_empty() => return Ok(Self { parts }),
                _ => return Err(invalid()),
            }
        }
    }

    /// The table with exactly these names, without case folding.
    pub(crate) fn of(schema: &str, name: &str) -> Self {
        Self { parts: vec![schema.to_owned(), name.to_owned()] }
    }

    /// The name with its schema, which is `public` if the name has none: taxi's own sessions have no search path.
    pub(crate) fn in_schema(self) -> Self {
        let schema = self.schema().to_owned();
        Self { parts: vec![schema, self.parts.into_iter().next_back().unwrap_or_default()] }
    }

    /// The schema; `public` if the name has none.
    pub(crate) fn schema(&self) -> &str {
        match self.parts.as_slice() {
            [schema, _] => schema,
            _ => "public",
        }
    }

    /// The quoted name, for use in a statement.
    pub fn quoted(&self) -> String {
        self.parts.iter().map(|part| quote(part)).collect::<Vec<_>>().join(".")
    }
}

/// Reads a column's name as SQL does, and returns it quoted.
pub(crate) fn column(text: &str) -> Result<String> {
    match TableName::parse(text)?.parts.as_slice() {
        [name] => Ok(quote(name)),
        _ => Err(Error::new(Kind::Configuration, format!("invalid column name {text:?}"))),
    }
}

/// The text up to the closing quote, and the rest after the quote.
fn read_quoted(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('"')?;
        name.push_str(before);
        match after.strip_prefix('"') {
            Some(next) => {
                name.push('"');
                rest = next;
            }
            None => return Some((name, after)),
        }
    }
}

impl fmt::Display for TableName {
    /// The unquoted name, for messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.parts.join("."))
    }
}

#[cfg(test)]
mod tests {
    use super::TableName;

    #[test]
    fn names_are_parsed_like_sql_names() {
        for (text, quoted) in [
            ("public.Yellow", r#""public"."yellow""#),
            ("trips", r#""trips""#),
            (r#"public."My ""Trips"".x""#, r#""public"."My ""Trips"".x""#),
            ("select", r#""select""#),
            ("a; drop table b", r#""a; drop table b""#),
        ] {
            assert_eq!(TableName::parse(text).unwrap().quoted(), quoted);
        }
    }

    #[test]
    fn invalid_names_are_refused() {
        for text in ["", ".", "a.", ".a", "a.b.c", "\"a", "\"a\"b"] {
            assert!(TableName::parse(text).is_err(), "{text:?}");
        }
    }
}
