//! Parses YAML text into nodes that know their position.
//!
//! Types are decoded from this tree and not from the text, so that all faults of a file can be reported at once,
//! each with its line and column.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use crate::error::{Error, Kind};

/// A position in a file. Line and column count from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Line number.
    pub line: u64,
    /// Column, in characters.
    pub column: u64,
}

/// A value and its position.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// The value.
    pub(crate) value: YamlValue,
    /// Where the value starts.
    pub position: Position,
}

/// The kinds of YAML value.
#[derive(Clone, Debug)]
pub(crate) enum YamlValue {
    /// An empty value, or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number as written: `03` stays `03`.
    Number(String),
    /// Text.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file.
    Map(Vec<(Node, Node)>),
}

/// A file's name, text and tree.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    name: String,
    text: String,
    /// The outermost value.
    pub(crate) root: Node,
}

/// A fault or a note, and its position in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Where the fault is.
    pub position: Position,
    /// What is wrong, and what would be correct.
    pub message: String,
}

impl Document {
    /// Parses the YAML `text`. `name` is the file name shown in errors.
    pub(crate) fn parse(name: &str, text: &str) -> Result<Self, Faults> {
        let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
        let root: Spanned<Raw> = serde_saphyr::from_str_with_options(text, options).map_err(|cause| {
            let position = cause.location().map(|at| Position { line: at.line(), column: at.column() });
            let position = position.unwrap_or(Position { line: 1, column: 1 });
            let full_message = cause.to_string();
            let message = full_message.lines().next().unwrap_or_default();
            // remove the position, which the diagnostic shows anyway, and the parser's options, which are not for
            // users
            let suffix = format!(" at line {}, column {}", position.line, position.column);
            let message = message.strip_suffix(&suffix).unwrap_or(message);
            let message = message.split(", set DuplicateKeyPolicy").next().unwrap_or_default();
            let found = vec![Diagnostic { position, message: message.to_owned() }];
            Faults { name: name.to_owned(), text: text.to_owned(), found, notes: Vec::new() }
        })?;
        Ok(Self { name: name.to_owned(), text: text.to_owned(), root: node(root, text) })
    }

    /// Whether the text of the document contains `part`.
    pub(crate) fn contains(&self, part: &str) -> bool {
        self.text.contains(part)
    }

    /// The faults found in this document, sorted by position.
    pub(crate) fn faults(&self, found: Vec<Diagnostic>) -> Faults {
        let found = in_order(found);
        Faults { name: self.name.clone(), text: self.text.clone(), found, notes: Vec::new() }
    }

    /// A note as one line: the file, the position and the note.
    pub(crate) fn note_line(&self, note: &Diagnostic) -> String {
        note.line(&self.name)
    }
}

impl Diagnostic {
    /// The note as one line, with the name of its file.
    pub(crate) fn line(&self, name: &str) -> String {
        let Position { line, column } = self.position;
        format!("{name}:{line}:{column}: note: {}", self.message)
    }
}

/// Where the byte `at` of a text is in the document. The text begins at `start` there, perhaps in quotes or as a block of
/// lines. The start itself if the place cannot be found.
pub(crate) fn locate(document: &str, start: Position, text: &str, at: usize) -> Position {
    let find = || {
        let line: usize =
            document.split_inclusive('\n').take(start.line.checked_sub(1)? as usize).map(str::len).sum();
        let indent: usize =
            document.get(line..)?.chars().take(start.column as usize - 1).map(char::len_utf8).sum();
        let from = line + indent;
        // the word at the place, and how often it stands before it
        let rest = text.get(at..)?;
        let is_word = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '.');
        let end = rest.find(|letter| !is_word(letter)).filter(|end| *end > 0);
        let word = &rest[..end.unwrap_or_else(|| rest.chars().next().map_or(0, char::len_utf8))];
        let earlier = text[..at].matches(word).count();
        let (offset, _) =
            document.get(from..)?.match_indices(word).nth(earlier).filter(|_| !word.is_empty())?;
        let before = &document[..from + offset];
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        Some(Position {
            line: before.matches('\n').count() as u64 + 1,
            column: before[line_start..].chars().count() as u64 + 1,
        })
    };
    find().unwrap_or(start)
}

/// The diagnostics in the order of the file, each once.
pub(crate) fn in_order(mut diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    diagnostics.sort_by_key(|diagnostic| (diagnostic.position.line, diagnostic.position.column));
    diagnostics.dedup();
    diagnostics
}

/// All faults of a file.
#[derive(Clone, Debug)]
pub struct Faults {
    /// The file's name.
    pub(crate) name: String,
    text: String,
    /// The faults, each with its position.
    pub found: Vec<Diagnostic>,
    /// What the file says without effect.
    pub(crate) notes: Vec<Diagnostic>,
}

impl Faults {
    /// The same faults with these notes.
    pub(crate) fn with_notes(self, notes: Vec<Diagnostic>) -> Self {
        Self { notes: in_order(notes), ..self }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.found.iter().enumerate() {
            let line_end = if index == 0 { "" } else { "\n" };
            write!(f, "{line_end}{}", Excerpt { name: &self.name, text: &self.text, diagnostic })?;
        }
        Ok(())
    }
}

impl From<Faults> for Error {
    fn from(faults: Faults) -> Self {
        Self::new(Kind::Configuration, faults.to_string())
    }
}

/// A diagnostic with the source line it refers to and a marker below.
struct Excerpt<'a> {
    name: &'a str,
    text: &'a str,
    diagnostic: &'a Diagnostic,
}

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { line, column } = self.diagnostic.position;
        write!(f, "{}:{line}:{column}: {}", self.name, self.diagnostic.message)?;
        let Some(source) = line.checked_sub(1).and_then(|index| self.text.lines().nth(index as usize)) else {
            return Ok(());
        };
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        let indent = " ".repeat(column.saturating_sub(1) as usize);
        write!(f, "\n {margin} |\n {number} | {source}\n {margin} | {indent}^")
    }
}

/// The tree as the parser returns it. A number has no text here; its text is copied from the source afterwards.
enum Raw {
    Null,
    Bool(bool),
    Number,
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<Raw>, Spanned<Raw>)>),
}

fn node(raw: Spanned<Raw>, source: &str) -> Node {
    let at = raw.referenced;
    let value = match raw.value {
        Raw::Null => YamlValue::Null,
        Raw::Bool(value) => YamlValue::Bool(value),
        Raw::Text(text) => YamlValue::Text(text),
        Raw::Number => {
            let span = raw.defined.span();
            // the parser knows the bytes of everything that it reads from a text
            let (start, length) = (span.byte_offset().unwrap_or(0), span.byte_len().unwrap_or(0));
            let text = source.get(start as usize..(start + length) as usize).unwrap_or_default();
            YamlValue::Number(text.trim().to_owned())
        }
        Raw::List(items) => YamlValue::List(items.into_iter().map(|item| node(item, source)).collect()),
        Raw::Map(entries) => YamlValue::Map(
            entries.into_iter().map(|(key, value)| (node(key, source), node(value, source))).collect(),
        ),
    };
    Node { value, position: Position { line: at.line(), column: at.column() } }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_bytes<E: serde::de::Error>(self, _: &[u8]) -> Result<Raw, E> {
        Err(E::custom("binary values are not supported"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries: Vec<(Spanned<Raw>, Spanned<Raw>)> = Vec::new();
        while let Some((key, value)) = map.next_entry::<Spanned<Raw>, Spanned<Raw>>()? {
            if matches!(key.value, Raw::List(_) | Raw::Map(_)) {
                return Err(A::Error::custom("expected text as a key"));
            }
            entries.push((key, value));
        }
        Ok(Raw::Map(entries))
    }
}

impl YamlValue {
    /// The text of a string or a number; `None` for other values.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Number(text) => Some(text),
            _ => None,
        }
    }

    /// Name of the value's kind, for messages.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_keep_their_text_and_position() {
        let document = Document::parse("a.yaml", "é: 1\nmonths: [\"01\", 03, yes, true, 1.50]\n").unwrap();
        let YamlValue::Map(entries) = document.root.value else { panic!("not a mapping") };
        let YamlValue::List(months) = &entries[1].1.value else { panic!("not a list") };
        let scalars: Vec<String> = months
            .iter()
            .map(|node| match &node.value {
                YamlValue::Text(text) => format!("text {text} at {}", node.position.column),
                YamlValue::Number(text) => format!("number {text} at {}", node.position.column),
                YamlValue::Bool(value) => format!("boolean {value}"),
                other => other.kind().to_owned(),
            })
            .collect();
        assert_eq!(
            scalars,
            ["text 01 at 10", "number 03 at 16", "text yes at 20", "boolean true", "number 1.50 at 31"]
        );
    }

    #[test]
    fn a_number_keeps_its_text_after_a_byte_order_mark_and_behind_an_alias() {
        let document = Document::parse("a.yaml", "\u{feff}é: &n 1.50\r\nb: *n\r\n").unwrap();
        let YamlValue::Map(entries) = document.root.value else { panic!("not a mapping") };
        let texts: Vec<_> = entries.iter().map(|(_, node)| node.value.text()).collect();
        assert_eq!(texts, [Some("1.50"), Some("1.50")]);
    }

    #[test]
    fn a_place_in_a_text_is_found_in_the_document() {
        let document = "a: 'é x {{ x }}'\nb: |\n  one\n  {{ one.two }}\n";
        let place = |line, column, text: &str, at: &str| {
            let found = locate(document, Position { line, column }, text, text.rfind(at).unwrap());
            (found.line, found.column)
        };
        assert_eq!(place(1, 4, "é x {{ x }}", "x"), (1, 12));
        assert_eq!(place(2, 4, "one\n{{ one.two }}\n", "one.two"), (4, 6));
        assert_eq!(place(1, 4, "not there", "not"), (1, 4));
    }

    #[test]
    fn a_syntax_error_shows_its_line() {
        let error = Document::parse("a.yaml", "id: x\nid: y\n").unwrap_err();
        assert!(error.to_string().starts_with("a.yaml:2:1: duplicate mapping key: id"), "{error}");
        assert!(error.to_string().ends_with("\n   |\n 2 | id: y\n   | ^"), "{error}");
    }
}
