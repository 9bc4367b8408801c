//! Parsed parts of an expression, and how the template engine writes them.

use std::fmt;

/// A parsed part of an expression.
#[derive(Clone, Debug)]
pub(crate) enum Expression {
    /// A minijinja expression.
    Plain(String),
    /// A name and the keys after it: `a.b[0]`.
    Path(Path),
}

/// A name and the keys after it.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    pub(crate) root: String,
    pub(crate) keys: Vec<Key>,
    /// The index of the path among the references of the expression, if its root is a name.
    pub(crate) reference: Option<usize>,
}

/// A key after a name.
#[derive(Clone, Debug)]
pub(crate) enum Key {
    /// `.name`
    Name(String),
    /// `[value]`
    Value(String),
}

/// A variable that an expression reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    /// The name of the variable.
    pub(crate) root: String,
    /// The first key after it, if that is a name.
    pub(crate) key: Option<String>,
    /// Where the name is in the text, in bytes.
    pub(crate) at: usize,
    /// Whether the expression does without the variable, as `a ?? b` does.
    pub(crate) is_guarded: bool,
    /// Whether the expression certainly fails if the variable does not exist.
    pub(crate) is_strict: bool,
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(text) => f.write_str(text),
            Self::Path(Path { root, keys, .. }) => {
                f.write_str(root)?;
                for key in keys {
                    match key {
                        Key::Name(name) if KEYWORDS.contains(&name.as_str()) => {
                            write!(f, "[{}]", literal(name))?;
                        }
                        Key::Name(name) => write!(f, ".{name}")?,
                        Key::Value(value) => write!(f, "[{value}]")?,
                    }
                }
                Ok(())
            }
        }
    }
}

impl Expression {
    /// A path without keys.
    pub(crate) fn name(root: String) -> Self {
        Self::Path(Path { root, keys: Vec::new(), reference: None })
    }

    /// Whether this is the variable `loop`.
    pub(crate) fn is_loop(&self) -> bool {
        matches!(self, Self::Path(Path { root, keys, .. }) if root == "loop" && keys.is_empty())
    }

    /// The expression in a form that yields undefined, not an error, if a key is missing.
    pub(crate) fn lenient(&self) -> String {
        match self {
            Self::Path(Path { root, keys, .. }) if !keys.is_empty() => {
                let keys = keys.iter().map(|key| match key {
                    Key::Name(name) => literal(name),
                    Key::Value(value) => value.clone(),
                });
                format!("find({root}, {})", keys.collect::<Vec<_>>().join(", "))
            }
            other => other.to_string(),
        }
    }
}

/// Words that minijinja does not accept as a name.
pub(crate) const KEYWORDS: [&str; 14] = [
    "if",
    "else",
    "elif",
    "for",
    "in",
    "is",
    "not",
    "and",
    "or",
    "true",
    "false",
    "none",
    "null",
    "recursive",
];

/// The text as a minijinja string literal.
pub(crate) fn literal(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            character => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}
