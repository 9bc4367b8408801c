//! The words, numbers, texts and signs of an expression.

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    /// A word.
    Name(String),
    /// A number as it is written.
    Number(String),
    /// What stood in quotes.
    Text(String),
    /// An operator or a bracket.
    Sign(&'static str),
    /// `}}` or `%}`.
    Close(&'static str),
    /// There is nothing more.
    End,
}

/// A token and where it ends.
#[derive(Clone, Debug)]
pub struct Lexed {
    /// The token.
    pub token: Token,
    /// The byte behind it.
    pub end: usize,
}

/// Signs, the longer ones before those that they begin with.
const SIGNS: [&str; 25] = [
    "???", "??", "==", "!=", "<=", ">=", "..", "?", ":", "~", "<", ">", "+", "-", "*", "/", "%", "|", ".",
    ",", "(", ")", "[", "]", "=",
];

/// The tokens up to the first `}}` or `%}` that does not close something else, which is the last of them.
pub fn lex(text: &str) -> Result<Vec<Lexed>, String> {
    let mut tokens = Vec::new();
    let mut at = 0;
    // of `{` that are open: `}}` may close two of them
    let mut braces = 0_u32;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let closing = ["}}", "%}"].into_iter().find(|mark| rest.starts_with(mark));
        if let Some(mark) = closing.filter(|_| braces == 0) {
            tokens.push(Lexed { token: Token::Close(mark), end: at + 2 });
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
                let other = |one: char| !one.is_alphanumeric() && one != '_';
                let length = rest.find(other).unwrap_or(rest.len());
                (Token::Name(rest[..length].to_owned()), length)
            }
            _ => {
                let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
                let sign = sign.ok_or_else(|| format!("{first} is not expected here"))?;
                (Token::Sign(sign), sign.len())
            }
        };
        at += length;
        tokens.push(Lexed { token, end: at });
    }
    Ok(tokens)
}

fn quoted(rest: &str, quote: char) -> Result<(Token, usize), String> {
    let mut text = String::new();
    let mut escaped = false;
    for (index, one) in rest.char_indices().skip(1) {
        if escaped {
            match one {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                '\'' | '"' | '\\' => text.push(one),
                other => text.extend(['\\', other]),
            }
            escaped = false;
        } else if one == '\\' {
            escaped = true;
        } else if one == quote {
            if quote == '"' && text.contains("#{") {
                return Err("#{ } inside a text is not supported: join parts with ~".to_owned());
            }
            return Ok((Token::Text(text), index + 1));
        } else {
            text.push(one);
        }
    }
    Err(format!("a text that {quote} begins is not closed"))
}

fn number(rest: &str) -> (Token, usize) {
    let digits = |text: &str| text.find(|one: char| !one.is_ascii_digit()).unwrap_or(text.len());
    let whole = digits(rest);
    let length = match rest[whole..].strip_prefix('.') {
        Some(fraction) if fraction.starts_with(|one: char| one.is_ascii_digit()) => {
            whole + 1 + digits(fraction)
        }
        _ => whole,
    };
    (Token::Number(rest[..length].to_owned()), length)
}
