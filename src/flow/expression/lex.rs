//! The lexer: splits an expression into tokens.

/// A token of an expression.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    /// A name or keyword.
    Name(String),
    /// A number, as written.
    Number(String),
    /// A string literal, unquoted and unescaped.
    Text(String),
    /// An operator or a bracket.
    Sign(&'static str),
    /// `}}` or `%}`.
    Close(&'static str),
    /// The end of the text.
    End,
}

/// A token with its position.
#[derive(Clone, Debug)]
pub(crate) struct Lexed {
    /// The token.
    pub(crate) token: Token,
    /// The offset of its first byte.
    pub(crate) start: usize,
    /// The offset of the byte after it.
    pub(crate) end: usize,
}

/// Operators and brackets; a longer one comes before its prefixes.
const SIGNS: [&str; 25] = [
    "???", "??", "==", "!=", "<=", ">=", "..", "?", ":", "~", "<", ">", "+", "-", "*", "/", "%", "|", ".",
    ",", "(", ")", "[", "]", "=",
];

/// The tokens up to and including the first `}}` or `%}` that is not part of a nested mapping.
pub(crate) fn lex(text: &str) -> Result<Vec<Lexed>, String> {
    let mut tokens = Vec::new();
    let mut at = 0;
    // the number of open `{`: `}}` may close two of them
    let mut braces = 0_u32;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let closing = ["}}", "%}"].into_iter().find(|mark| rest.starts_with(mark));
        if let Some(mark) = closing.filter(|_| braces == 0) {
            tokens.push(Lexed { token: Token::Close(mark), start: at, end: at + 2 });
            return Ok(tokens);
        }
        let (token, length) = match first {
            '{' => {
                braces += 1;
                (Token::Sign("{"), 1)
            }
            '}' => {
                braces = braces.saturating_sub(1);
                (Token::Sign("}"), 1)
            }
            '\'' | '"' => quoted(rest, first)?,
            '0'..='9' => number(rest),
            _ if first.is_alphabetic() || first == '_' => {
                let is_end = |letter: char| !letter.is_alphanumeric() && letter != '_';
                let length = rest.find(is_end).unwrap_or(rest.len());
                (Token::Name(rest[..length].to_owned()), length)
            }
            _ => {
                let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
                let sign = sign.ok_or_else(|| format!("unexpected character `{first}`"))?;
                (Token::Sign(sign), sign.len())
            }
        };
        tokens.push(Lexed { token, start: at, end: at + length });
        at += length;
    }
    Ok(tokens)
}

fn quoted(rest: &str, quote: char) -> Result<(Token, usize), String> {
    let mut text = String::new();
    let mut escaped = false;
    for (index, character) in rest.char_indices().skip(1) {
        if escaped {
            match character {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                '\'' | '"' | '\\' => text.push(character),
                other => text.extend(['\\', other]),
            }
            escaped = false;
        } else if character == '\\' {
            escaped = true;
        } else if character == quote {
            if quote == '"' && text.contains("#{") {
                return Err("`#{ }` in a string is not supported; concatenate the parts with ~".to_owned());
            }
            return Ok((Token::Text(text), index + 1));
        } else {
            text.push(character);
        }
    }
    Err(format!("missing closing {quote} of a string"))
}

fn number(rest: &str) -> (Token, usize) {
    let digits = |text: &str| text.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(text.len());
    let whole = digits(rest);
    let length = match rest[whole..].strip_prefix('.') {
        Some(fraction) if fraction.starts_with(|digit: char| digit.is_ascii_digit()) => {
            whole + 1 + digits(fraction)
        }
        _ => whole,
    };
    (Token::Number(rest[..length].to_owned()), length)
}
